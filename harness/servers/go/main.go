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
	"unsafe"
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
	loops := unasked
	flag.Func("accept-loops", "`N|default`: goroutines that accept", numberOrDefault(&loops, 1))
	reusePort := flag.String("reuseport", "off", "`on|off`: whether each of them has a listener of its own")
	stamps := flag.String("stamps", "on", "`on|off`: whether answers carry their connection's accept time")
	version := flag.String("http", "1", "`1|2`: the version of HTTP; 2 is with prior knowledge, without TLS")
	flag.Parse()
	if net.ParseIP(*host) == nil || *port < 1 || *port > math.MaxUint16 || !isSwitch(*stamps) || !isSwitch(*reusePort) || (*version != "1" && *version != "2") {
		fmt.Fprintln(os.Stderr, "need an IP address as --host, a --port of 1..65535, on or off as --stamps and --reuseport, and 1 or 2 as --http")
		flag.Usage()
		os.Exit(2)
	}

	if workers != unasked {
		runtime.GOMAXPROCS(workers)
	}
	listeners, err := listen(net.JoinHostPort(*host, strconv.Itoa(int(*port))), backlog, loops, *reusePort == "on")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: answer(*bodyBytes, time.Duration(*workUs)*time.Microsecond)}
	if *version == "2" {
		server.Protocols = new(http.Protocols)
		server.Protocols.SetUnencryptedHTTP2(true)
	}
	if *stamps == "on" {
		zero := monotonicZero()
		for i, listener := range listeners {
			listeners[i] = stampingListener{listener.(*net.TCPListener), zero}
		}
		server.ConnContext = withConn
		server.Handler = stamped(server.Handler)
	}
	terminated, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(terminated, func() { server.Close() })

	if loops != unasked {
		listeners[0] = gatedListener{listeners[0], gate()}
	}
	served := make(chan error)
	for _, listener := range listeners {
		go func() { served <- server.Serve(listener) }()
	}
	fmt.Printf("ready %s %s\n", listeners[0].Addr(), runtime.Version())
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func isSwitch(text string) bool { return text == "on" || text == "off" }

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

// stampedConn is a connection that knows when it was accepted. It has all methods
// of the *net.TCPConn, so net/http treats it as one (closing its half, sendfile);
// only a handler that took the connection over would see another type.
type stampedConn struct {
	*net.TCPConn
	acceptNs int64
}

type stampingListener struct {
	*net.TCPListener
	zero time.Time
}

func (l stampingListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &stampedConn{conn, time.Since(l.zero).Nanoseconds()}, nil
}

type connKey struct{}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

func stamped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := r.Context().Value(connKey{}).(*stampedConn)
		w.Header().Set("X-Accept-Ns", strconv.FormatInt(conn.acceptNs, 10))
		next.ServeHTTP(w, r)
	})
}

// monotonicZero is when CLOCK_MONOTONIC was 0. The time since then is that clock's
// reading: package time reads the same clock but does not give the number away.
// Both are read one after the other; of five such pairs the closest counts.
func monotonicZero() (zero time.Time) {
	const clockMonotonic = 1
	closest := time.Duration(math.MaxInt64)
	for range 5 {
		var clock syscall.Timespec
		before := time.Now()
		_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&clock)), 0)
		gap := time.Since(before)
		if errno != 0 {
			log.Fatal("clock_gettime: ", errno)
		}
		if gap < closest {
			closest, zero = gap, before.Add(gap/2-time.Duration(clock.Nano()))
		}
	}
	return zero
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
