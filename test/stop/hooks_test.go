package stop_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// textless is an error whose Error method panics on a nil pointer.
type textless struct{ text string }

func (e *textless) Error() string { return e.text }

func nilPointer() error { var e *textless; return e }

// rotten panics in one of the methods of an error.
type rotten struct{ in string }

func (e rotten) panics(in string) {
	if e.in == in {
		panic("rotten " + in)
	}
}

func (e rotten) Error() string { e.panics("Error"); return "rotten" }
func (e rotten) Unwrap() error { e.panics("Unwrap"); return nil }
func (e rotten) Is(error) bool { e.panics("Is"); return false }
func (e rotten) As(any) bool   { e.panics("As"); return false }

// brokenLog is a logger that panics.
type brokenLog struct{ slog.Handler }

func (brokenLog) Enabled(context.Context, slog.Level) bool  { panic("Enabled") }
func (brokenLog) Handle(context.Context, slog.Record) error { panic("Handle") }

// server is a server for Group.Serve that panics when it should stop.
type server struct{ accepting chan struct{} }

func (s server) Serve(net.Listener) error { <-s.accepting; return nil }
func (s server) GracefulStop()            { close(s.accepting); panic("GracefulStop") }
func (s server) Stop()                    { panic("Stop") }

func local(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// hangUp stops a group whose server's ConnState has panicked at the end of a connection: net/http
// calls it there without a recover.
func hangUp(t *testing.T, g *lastcall.Group) {
	l := local(t)
	closed := make(chan struct{})
	srv := &http.Server{ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			close(closed)
		}
		panic("ConnState")
	}}
	if err := g.HTTP("api", srv, l); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "no request\r\n\r\n")
	<-closed
	_ = c.Close() // the server has closed it too
	g.Stop(nil)
}

// Whichever of the user's functions panics, the stop is orderly, and the report names the panic.
func TestHook_APanicInAnyOfThemEndsInAnOrderlyStop(t *testing.T) {
	type armed struct {
		do   func(*testing.T, *lastcall.Group)
		log  *slog.Logger
		code int
		want string // in the report
	}
	all := map[string]armed{
		"the logger": {do: func(_ *testing.T, g *lastcall.Group) { g.Stop(nil) }, log: slog.New(brokenLog{slog.DiscardHandler})},
		"GracefulStop": {do: func(t *testing.T, g *lastcall.Group) {
			if err := g.Serve("rpc", server{make(chan struct{})}, local(t)); err != nil {
				t.Fatal(err)
			}
			g.Stop(nil)
		}},
		"ConnState": {do: hangUp},
	}
	errs := map[string]error{"a nil pointer": nilPointer(), "Error": rotten{"Error"}, "Unwrap": rotten{"Unwrap"}, "Is": rotten{"Is"}, "As": rotten{"As"}}
	for what, err := range errs {
		returns := func(context.Context) error { return err }
		all["a goroutine's error: "+what] = armed{do: func(_ *testing.T, g *lastcall.Group) { _ = g.Go("culprit", returns) }, code: 1, want: "failed      go culprit: panic: a method of the error"}
		all["a loop's error: "+what] = armed{do: func(_ *testing.T, g *lastcall.Group) { _ = g.Loop("culprit", returns) }, code: 1, want: "failed      loop culprit: panic: a method of the error"}
		all["a background's error: "+what] = armed{do: func(_ *testing.T, g *lastcall.Group) {
			_ = g.Background(context.Background(), "culprit", returns)
			_ = g.Go("stop", func(context.Context) error { g.Stop(nil); return nil })
		}, want: "failed      1 times in the background"}
		all["a closer's error: "+what] = armed{do: func(_ *testing.T, g *lastcall.Group) { g.Defer("culprit", returns); g.Stop(nil) }, code: 1, want: "failed      closer culprit: panic: a method of the error"}
		all["the cause of a stop: "+what] = armed{do: func(_ *testing.T, g *lastcall.Group) { g.Stop(err) }, code: 1, want: "failed      panic: a method of the error"}
		all["an error after the last call: "+what] = armed{do: func(_ *testing.T, g *lastcall.Group) {
			_ = g.Go("culprit", func(ctx context.Context) error { <-lastcall.LastCall(ctx); return err })
			g.Stop(nil)
		}, code: 1, want: "failed      go culprit: panic: a method of the error"}
	}
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.log == nil {
				c.log = slog.New(slog.DiscardHandler)
			}
			g, err := lastcall.New(t.Context(), lastcall.Config{Grace: 10 * time.Second, Delay: -1, Logger: c.log})
			if err != nil {
				t.Fatal(err)
			}
			closed := false
			g.Defer("db", func(context.Context) error { closed = true; return nil })
			c.do(t, g)
			r := g.Wait()
			if !closed || r.ExitCode() != c.code || !strings.Contains(r.String(), c.want) {
				t.Errorf("closed %t, exit code %d, want %d and %q:\n%s", closed, r.ExitCode(), c.code, c.want, r)
			}
		})
	}
}
