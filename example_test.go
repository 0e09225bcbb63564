//go:build unix

package lastcall_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall"
)

// quiet keeps the log out of the examples' output. A program uses the default
// Logger.
var quiet = lastcall.Config{Grace: 10 * time.Second, Logger: slog.New(slog.DiscardHandler), TerminationLog: "-"}

// terminate sends a real SIGTERM to this process, as the platform would.
func terminate() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		panic(err)
	}
}

// A service with a consumer and a database. SIGTERM arrives in the middle of a
// message: the message is finished, and the database is closed after it.
func ExampleMain() {
	setup := func(_ context.Context, g *lastcall.Group) error {
		g.Defer("db", lastcall.CloseFunc(func() error {
			fmt.Println("database closed")
			return nil
		}))
		return g.Loop("consumer", func(ctx context.Context) error {
			for message := 1; ctx.Err() == nil; message++ {
				fmt.Println("message", message, "begun")
				if message == 2 {
					terminate()
					<-ctx.Done()
				}
				fmt.Println("message", message, "done")
			}
			return nil
		})
	}

	code := lastcall.Main(quiet, setup) // in a real main: os.Exit(lastcall.Main(...))
	fmt.Println("exit code", code)
	// Output:
	// message 1 begun
	// message 1 done
	// message 2 begun
	// message 2 done
	// database closed
	// exit code 0
}

// A Loop's own context ends at last call. The current item uses the context of
// UntilInterrupt.
func ExampleUntilInterrupt() {
	store := func(ctx context.Context, item int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		fmt.Println("stored", item)
		return nil
	}
	code := lastcall.Main(quiet, func(_ context.Context, g *lastcall.Group) error {
		return g.Loop("worker", func(ctx context.Context) error {
			for item := 1; ctx.Err() == nil; item++ {
				if item == 3 {
					terminate()
					<-ctx.Done() // last call, in the middle of item 3
				}
				if err := store(lastcall.UntilInterrupt(ctx), item); err != nil {
					return err
				}
			}
			return nil // no new item
		})
	})
	fmt.Println("exit code", code)
	// Output:
	// stored 1
	// stored 2
	// stored 3
	// exit code 0
}

// Long work checks whether a stop has begun and how much time is left. It then decides
// by itself to save its position and return.
func ExampleLastCall() {
	code := lastcall.Main(quiet, func(_ context.Context, g *lastcall.Group) error {
		return g.Go("import", func(ctx context.Context) error {
			if _, ok := lastcall.TimeLeft(ctx); !ok {
				fmt.Println("no hurry")
			}
			terminate()
			<-lastcall.LastCall(ctx)
			left, _ := lastcall.TimeLeft(ctx)
			fmt.Printf("last call: %v left, saving row 4711\n", left.Round(time.Second))
			return nil
		})
	})
	fmt.Println("exit code", code)
	// Output:
	// no hurry
	// last call: 9s left, saving row 4711
	// exit code 0
}

// Work that does not finish within the budget is interrupted. The cause of its context says
// so, and the context of UntilAbandon allows one more write.
func ExampleUntilAbandon() {
	cfg := quiet
	cfg.Grace = 200 * time.Millisecond
	code := lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
		return g.Go("render", func(ctx context.Context) error {
			terminate()
			<-ctx.Done()
			var interrupt *lastcall.InterruptError
			if errors.As(context.Cause(ctx), &interrupt) {
				fmt.Println("interrupted by", interrupt.Signal)
			}
			fmt.Println("a last write is possible:", lastcall.UntilAbandon(ctx).Err() == nil)
			return nil // the interruption is recorded; an error would make the exit code 75
		})
	})
	fmt.Println("exit code", code)
	// Output:
	// interrupted by terminated
	// a last write is possible: true
	// exit code 0
}

// A server answers the request in flight, and the stop also waits for the work that the request
// left behind.
func ExampleGroup_HTTP() {
	code := lastcall.Main(quiet, func(ctx context.Context, g *lastcall.Group) error {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /reports", func(w http.ResponseWriter, r *http.Request) {
			terminate()
			<-lastcall.LastCall(r.Context()) // the stop begins while this request is served
			err := g.Background(r.Context(), "report", func(context.Context) error {
				fmt.Println("report rendered")
				return nil
			})
			if err != nil {
				http.Error(w, "come back later", http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusAccepted)
		})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		if err := g.HTTP("api", &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}, listener); err != nil {
			return err
		}
		return g.Go("client", func(ctx context.Context) error {
			response, err := http.Post("http://"+listener.Addr().String()+"/reports", "text/plain", nil)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			_, err = io.Copy(io.Discard, response.Body)
			return err
		})
	})
	fmt.Println("exit code", code)
	// Output:
	// report rendered
	// exit code 0
}

// A library has a group of its own, inside the group of its caller: the
// caller's last call is also its last call.
func ExampleNew() {
	// poll is the library: it knows nothing of signals.
	polling := make(chan struct{})
	poll := func(ctx context.Context) error {
		inner, err := lastcall.New(ctx, quiet)
		if err != nil {
			return err
		}
		inner.Defer("session", lastcall.CloseFunc(func() error {
			fmt.Println("session closed")
			return nil
		}))
		if err := inner.Loop("poll", func(ctx context.Context) error {
			close(polling)
			<-ctx.Done()
			fmt.Println("poll:", context.Cause(ctx))
			return nil
		}); err != nil {
			return err
		}
		fmt.Println("exit code of the inner group:", inner.Wait().ExitCode())
		return nil
	}

	outer, err := lastcall.New(context.Background(), quiet)
	if err != nil {
		panic(err)
	}
	if err := outer.Loop("library", poll); err != nil {
		panic(err)
	}
	<-polling
	outer.Stop(nil)
	fmt.Println("exit code:", outer.Wait().ExitCode())
	// Output:
	// poll: lastcall: stopping, no new work is taken
	// session closed
	// exit code of the inner group: 0
	// exit code: 0
}

// The report names the work that finished, was interrupted or was abandoned.
func ExampleReport() {
	cfg := quiet
	cfg.Grace = 200 * time.Millisecond
	g, err := lastcall.New(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	hangs := make(chan struct{})
	for name, work := range map[string]func(context.Context) error{
		"quick":        func(ctx context.Context) error { <-lastcall.LastCall(ctx); return nil },
		"long":         func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"unresponsive": func(context.Context) error { <-hangs; return nil },
	} {
		if err := g.Go(name, work); err != nil {
			panic(err)
		}
	}
	g.Stop(nil)
	report := g.Wait()
	for _, l := range report.Finished {
		fmt.Println("finished:", l.Name)
	}
	for _, l := range report.Interrupted {
		fmt.Println("interrupted:", l.Name, "with", l.Err)
	}
	for _, l := range report.Abandoned {
		fmt.Println("abandoned:", l.Name)
	}
	fmt.Println("exit code", report.ExitCode())
	close(hangs)
	// Output:
	// finished: quick
	// interrupted: long with context canceled
	// abandoned: unresponsive
	// exit code 3
}
