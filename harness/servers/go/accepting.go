// Who accepts: one goroutine as net/http's documentation has it, several on one listener, or each on its own.
package main

import (
	"context"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// soReusePort is SO_REUSEPORT of asm-generic/socket.h, which package syscall lacks.
const soReusePort = 15

// listen gives each loop its listener: all the same one, or with reusePort one each.
func listen(address string, backlog, loops int, reusePort bool) ([]net.Listener, error) {
	var config net.ListenConfig
	if reusePort {
		config.Control = func(_, _ string, socket syscall.RawConn) error {
			var failed error
			err := socket.Control(func(fd uintptr) {
				failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soReusePort, 1)
			})
			if err != nil {
				return err
			}
			return failed
		}
	}
	listeners := make([]net.Listener, max(loops, 1))
	for i := range listeners {
		if i > 0 && !reusePort {
			listeners[i] = listeners[0]
			continue
		}
		listener, err := config.Listen(context.Background(), "tcp", address)
		if err != nil {
			return nil, err
		}
		if backlog != unasked {
			if err := listenAgain(listener.(*net.TCPListener), backlog); err != nil {
				return nil, err
			}
		}
		listeners[i] = listener
	}
	return listeners, nil
}

// gatedListener is the first loop's: it can be blocked, as by an Accept that does
// more than to accept.
type gatedListener struct {
	net.Listener
	gate *sync.RWMutex
}

func (l gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	l.gate.RLock()
	l.gate.RUnlock()
	return conn, err
}

// gate is shut by SIGUSR1 and opened by SIGUSR2.
func gate() *sync.RWMutex {
	gate := new(sync.RWMutex)
	told := make(chan os.Signal, 2)
	signal.Notify(told, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		shut := false
		for which := range told {
			if shut == (which == syscall.SIGUSR1) {
				continue
			}
			shut = !shut
			if shut {
				gate.Lock()
			} else {
				gate.Unlock()
			}
		}
	}()
	return gate
}
