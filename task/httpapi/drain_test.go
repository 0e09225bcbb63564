package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// TestDrain_ReadingAndSubmittingGoOnDuringADrainUntilTheListenerCloses stops a whole group whose
// server goes on accepting for a while.
func TestDrain_ReadingAndSubmittingGoOnDuringADrainUntilTheListenerCloses(t *testing.T) {
	store := memstore.New()
	log := slog.New(slog.DiscardHandler)
	g, err := lastcall.New(t.Context(), lastcall.Config{Grace: time.Minute, Delay: 3 * time.Second, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Store: store, Addr: l.Addr(), Stopping: lastcall.LastCall, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.HTTP("api", NewServer(h, log), l); err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(ClientConfig{Server: "http://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	stops := make(chan struct{})
	go func() { // ends with ctx, or with the event
		for e := range c.Events(ctx, "") {
			switch e.Type {
			case EventReset:
				g.Stop(nil)
			case EventStopping:
				close(stops)
				return
			}
		}
	}()
	select {
	case <-stops: // the stream was notified of the last call
	case <-time.After(patience):
		t.Fatal("the stream did not hear of the last call")
	}
	done, err := c.Enqueue(t.Context(), "k", []byte("1"), nil)
	if err != nil {
		t.Fatalf("a submit during the delay: %v", err)
	}
	if _, err := c.Get(t.Context(), done.ID); err != nil {
		t.Errorf("reading during the delay: %v", err)
	}
	until(t, "the listener closes", func() bool {
		_, err := c.Count(t.Context())
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if code := g.Wait().ExitCode(); code != 0 {
		t.Errorf("exit code %d: the stream held up the stop", code)
	}
	if found, err := store.Find(t.Context(), task.Query{}); err != nil || len(found) != 1 {
		t.Errorf("%d tasks, %v", len(found), err)
	}
}
