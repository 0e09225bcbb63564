package storekit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

func TestSignals_BeginAboveZero(t *testing.T) {
	var s storekit.Signals
	got, err := s.Wait(t.Context(), task.Generations{})
	if err != nil || got.Tasks == 0 || got.Commands == 0 || got.Workers == 0 {
		t.Errorf("%+v, %v: want numbers above zero at once", got, err)
	}
}

func TestSignals_DoNotLoseAChangeBetweenTwoCallsOfWait(t *testing.T) {
	var s storekit.Signals
	before, err := s.Wait(t.Context(), task.Generations{})
	if err != nil {
		t.Fatal(err)
	}
	s.Wake(1, 2, 3)
	after, err := s.Wait(t.Context(), before)
	want := task.Generations{Tasks: before.Tasks + 1, Commands: before.Commands + 2, Workers: before.Workers + 3}
	if err != nil || after != want {
		t.Errorf("%+v, %v: want %+v", after, err, want)
	}
}

func TestSignals_WakeEndsEveryWaitingCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s storekit.Signals
		seen, err := s.Wait(t.Context(), task.Generations{})
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan task.Generations, 3)
		for range cap(woken) {
			go func() {
				now, err := s.Wait(t.Context(), seen)
				if err != nil {
					t.Error(err)
				}
				woken <- now
			}()
		}
		s.Wake(0, 0, 0)
		synctest.Wait()
		if n := len(woken); n != 0 {
			t.Fatalf("%d calls returned though nothing was counted", n)
		}
		s.Wake(0, 0, 1)
		synctest.Wait()
		if n := len(woken); n != cap(woken) {
			t.Fatalf("%d of %d calls returned", n, cap(woken))
		}
		if got := <-woken; got.Workers != seen.Workers+1 {
			t.Errorf("%+v after %+v", got, seen)
		}
	})
}

func TestSignals_WaitEndsWithTheCauseOfItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s storekit.Signals
		seen, err := s.Wait(t.Context(), task.Generations{})
		if err != nil {
			t.Fatal(err)
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := s.Wait(ctx, seen)
			ended <- err
		}()
		synctest.Wait()
		cancel(cause)
		if err := <-ended; !errors.Is(err, cause) {
			t.Errorf("%v: want the context's cause", err)
		}
	})
}

func TestSignals_CloseEndsWaitingAndLaterCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s storekit.Signals
		seen, err := s.Wait(t.Context(), task.Generations{})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := s.Wait(t.Context(), seen)
			ended <- err
		}()
		synctest.Wait()
		s.Close()
		s.Close()
		if err := <-ended; !errors.Is(err, task.ErrClosed) {
			t.Errorf("a waiting call: %v", err)
		}
		if _, err := s.Wait(t.Context(), task.Generations{}); !errors.Is(err, task.ErrClosed) {
			t.Errorf("a later call: %v", err)
		}
	})
}
