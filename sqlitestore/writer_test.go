package sqlitestore

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestATransactionThatHasBegunIsWaitedForAlsoWhenItsContextEnds(t *testing.T) {
	s, _ := fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	returned := make(chan struct{})
	answer := 0
	err := func() error {
		defer close(returned)
		return s.inTx(ctx, func(*txn) error {
			cancel()
			select {
			case <-returned: // which it must not
			case <-time.After(100 * time.Millisecond):
			}
			answer = 1
			return nil
		})
	}()
	if err != nil || answer != 1 {
		t.Errorf("answer %d, %v", answer, err)
	}
}

func TestATransactionWhoseContextEndsWhileItWaitsIsNotBegun(t *testing.T) {
	s, _ := fresh(t)
	busy, release, first := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		first <- s.inTx(context.Background(), func(*txn) error { close(busy); <-release; return nil })
	}()
	<-busy
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the caller has gone")
	second := make(chan error)
	go func() { second <- s.inTx(ctx, func(*txn) error { t.Error("begun"); return nil }) }()
	queued(t, s, 1)
	cancel(cause)
	if err := <-second; !errors.Is(err, cause) {
		t.Errorf("%v, want the context's cause", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := s.inTx(t.Context(), func(*txn) error { return nil }); err != nil { // after the one that is not begun
		t.Error(err)
	}
}

// queued waits until so many transactions wait for the writer.
func queued(t *testing.T, s *Store, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		s.writer.mu.Lock()
		got := len(s.writer.queue)
		s.writer.mu.Unlock()
		if got == n {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("%d transactions wait, want %d", got, n)
		}
	}
}
