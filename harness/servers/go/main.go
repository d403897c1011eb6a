// Storm Lab's Go server: net/http, written as its documentation writes a server.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// unasked marks a setting that is left to the runtime.
const unasked = -1

func main() {
	backlog, workers := unasked, unasked
	host := flag.String("host", "127.0.0.1", "`IP` address to listen on")
	port := flag.Uint("port", 0, "TCP port to listen on (required)")
	flag.Func("backlog", "`N|default`: number passed to listen(2)", numberOrDefault(&backlog, 0))
	bodyBytes := flag.Uint("body-bytes", 12, "length of the answer's body")
	workUs := flag.Uint("work-us", 0, "busy work per request, in microseconds")
	flag.Func("workers", "`N|default`: GOMAXPROCS", numberOrDefault(&workers, 1))
	flag.Parse()
	if net.ParseIP(*host) == nil || *port < 1 || *port > math.MaxUint16 {
		fmt.Fprintln(os.Stderr, "need an IP address as --host and a --port of 1..65535")
		flag.Usage()
		os.Exit(2)
	}

	if workers != unasked {
		runtime.GOMAXPROCS(workers)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(*host, strconv.Itoa(int(*port))))
	if err != nil {
		log.Fatal(err)
	}
	if backlog != unasked {
		if err := listenAgain(listener.(*net.TCPListener), backlog); err != nil {
			log.Fatal(err)
		}
	}

	server := &http.Server{Handler: answer(*bodyBytes, time.Duration(*workUs)*time.Microsecond)}
	terminated, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(terminated, func() { server.Close() })

	fmt.Printf("ready %s %s\n", listener.Addr(), runtime.Version())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func answer(bodyBytes uint, work time.Duration) http.Handler {
	body := bytes.Repeat([]byte("x"), int(bodyBytes))
	length := strconv.Itoa(len(body))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if work > 0 {
			for started := time.Now(); time.Since(started) < work; {
			}
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", length)
		w.Write(body)
	})
}

// listenAgain sets the backlog of a listener. Package net always passes
// net.core.somaxconn to listen(2) and has no option for it (ListenConfig.Control
// runs before listen, so what it sets is overwritten); but listen(2) on a socket
// that listens already does nothing except set its backlog anew.
func listenAgain(listener *net.TCPListener, backlog int) error {
	socket, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	var listenErr error
	err = socket.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), backlog) })
	return errors.Join(err, listenErr)
}

func numberOrDefault(number *int, least int) func(string) error {
	return func(text string) error {
		if text == "default" {
			*number = unasked
			return nil
		}
		// listen(2) takes a C int.
		value, err := strconv.ParseInt(text, 10, 32)
		if err != nil || int(value) < least {
			return fmt.Errorf("not `default` or a number of %d..%d", least, math.MaxInt32)
		}
		*number = int(value)
		return nil
	}
}
