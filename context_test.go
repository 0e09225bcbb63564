package lastcall

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

type traceKey struct{}

func TestContext_OutsideAGroupTheContextFunctionsAnswerForTheContextAlone(t *testing.T) {
	ctx := t.Context()
	if LastCall(ctx) != nil {
		t.Error("LastCall is not nil")
	}
	if left, ok := TimeLeft(ctx); ok || left != 0 {
		t.Errorf("TimeLeft is %v, %v", left, ok)
	}
	if UntilInterrupt(ctx) != ctx || UntilAbandon(ctx) != ctx {
		t.Error("UntilInterrupt or UntilAbandon is another context")
	}
}

// moments records when, after last call, the contexts of a group end.
type moments map[string]time.Duration

func TestContext_OfAGroupEndAtTheirMoments(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		got := make(chan moments, 1)
		mustStart(t, g.Loop("watch", func(ctx context.Context) error {
			// UntilInterrupt and UntilAbandon find the group in derived contexts too.
			derived, cancel := context.WithTimeout(context.WithValue(ctx, traceKey{}, "7f"), time.Hour)
			defer cancel()
			work, last := UntilInterrupt(derived), UntilAbandon(derived)
			m := moments{}
			<-LastCall(derived)
			began := time.Now()
			for _, c := range []struct {
				name string
				ctx  context.Context
			}{{"loop", ctx}, {"derived", derived}, {"work", work}, {"last", last}} {
				<-c.ctx.Done()
				m[c.name] = time.Since(began)
			}
			got <- m
			return nil
		}))
		time.Sleep(time.Minute)
		g.Stop(nil)
		g.Wait()
		m := <-got
		for name, want := range map[string]time.Duration{"loop": 0, "derived": 0, "work": atInterrupt, "last": atAbandon} {
			if m[name] != want {
				t.Errorf("%s ended %v after last call, want %v", name, m[name], want)
			}
		}
	})
}

func TestContext_UntilInterruptAndUntilAbandonKeepTheValuesAndHaveNoDeadlineOfTheContextTheyComeFrom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		parent := context.WithValue(t.Context(), traceKey{}, "parent")
		cfg, _ := testConfig()
		g := mustNew(parent, t, cfg)
		mustStart(t, g.Go("work", func(ctx context.Context) error {
			if ctx.Value(traceKey{}) != "parent" {
				t.Error("the group's contexts do not have its parent's values")
			}
			derived, cancel := context.WithTimeout(context.WithValue(ctx, traceKey{}, "mine"), time.Second)
			cancel()
			for name, c := range map[string]context.Context{"UntilInterrupt": UntilInterrupt(derived), "UntilAbandon": UntilAbandon(derived)} {
				if c.Value(traceKey{}) != "mine" {
					t.Errorf("%s lost the value", name)
				}
				if c.Err() != nil {
					t.Errorf("%s ended with the context that it came from", name)
				}
				if _, ok := c.Deadline(); ok {
					t.Errorf("%s has its deadline", name)
				}
			}
			return nil
		}))
		g.Wait()
	})
}

func TestTimeLeft_CountsToInterruptAndThenToAbandon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		kept := make(chan context.Context, 1)
		mustStart(t, g.Go("unresponsive", func(ctx context.Context) error { kept <- ctx; <-letGo; return nil }))
		ctx := <-kept
		if _, ok := TimeLeft(ctx); ok {
			t.Error("there is a time before last call")
		}
		g.Stop(nil)
		for _, c := range []struct{ at, want time.Duration }{
			{0, atInterrupt},
			{5 * time.Second, atInterrupt - 5*time.Second},
			{atInterrupt, time.Second},
			{atInterrupt + 300*time.Millisecond, 700 * time.Millisecond},
			{atAbandon, 0},
			{atExit + time.Hour, 0},
		} {
			time.Sleep(time.Until(g.report.Began.Add(c.at)))
			synctest.Wait()
			if left, ok := TimeLeft(ctx); !ok || left != c.want {
				t.Errorf("%v after last call: %v, %v, want %v", c.at, left, ok, c.want)
			}
		}
		close(letGo)
	})
}

func TestTimeLeft_IsFalseWhenTheStopHasNoDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.Grace = -1
		g := mustNew(t.Context(), t, cfg)
		mustStart(t, g.Go("work", func(ctx context.Context) error {
			<-LastCall(ctx)
			if left, ok := TimeLeft(ctx); ok {
				t.Errorf("%v left", left)
			}
			return nil
		}))
		g.Stop(nil)
		g.Wait()
	})
}

func TestInterruptError_TheCauseOfAnInterruptSaysWhoBeganItAndUntilWhenToWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		var cause error
		var began time.Time
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			return g.Go("work", func(ctx context.Context) error {
				<-LastCall(ctx)
				began = time.Now()
				child, cancel := context.WithCancel(ctx)
				defer cancel()
				<-child.Done()
				cause = context.Cause(child)
				if child.Err() != context.Canceled {
					t.Errorf("Err is %v", child.Err())
				}
				return nil
			})
		})
		p.signal(syscall.SIGTERM)
		<-p.code
		var interrupt *InterruptError
		if !errors.As(cause, &interrupt) {
			t.Fatalf("the cause is %v", cause)
		}
		if interrupt.Signal != syscall.SIGTERM || !interrupt.Until.Equal(began.Add(atAbandon)) {
			t.Errorf("%+v, last call at %v", interrupt, began)
		}
		if !errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
			t.Error("it is not a cancellation")
		}
		if want := "lastcall: interrupted by SIGTERM, last writes until " + interrupt.Until.Format("15:04:05"); !strings.HasPrefix(cause.Error(), want) {
			t.Errorf("%q", cause)
		}
	})
}

func TestInterruptError_WithoutASignalOrAnEndSaysLess(t *testing.T) {
	if got := (&InterruptError{}).Error(); got != "lastcall: interrupted by the stop" {
		t.Errorf("%q", got)
	}
	if got := (&InterruptError{Signal: syscall.SIGINT}).Error(); got != "lastcall: interrupted by SIGINT" {
		t.Errorf("%q", got)
	}
}

func TestLoop_TheCauseOfALoopsEndIsErrStopping(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		mustStart(t, g.Loop("loop", func(ctx context.Context) error {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), ErrStopping) {
				t.Errorf("the cause is %v", context.Cause(ctx))
			}
			return context.Cause(ctx) // the cause is a clean end too
		}))
		g.Stop(nil)
		wantReport(t, g.Wait(), 0, "loop loop", "", "")
	})
}

func TestContext_KeptBeyondTheGroupHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		var kept []context.Context
		mustStart(t, g.Go("work", func(ctx context.Context) error {
			kept = []context.Context{ctx, UntilInterrupt(ctx), UntilAbandon(ctx)}
			return nil
		}))
		g.Wait()
		for i, ctx := range kept {
			if ctx.Err() == nil || errors.As(context.Cause(ctx), new(*InterruptError)) {
				t.Errorf("context %d: %v, cause %v", i, ctx.Err(), context.Cause(ctx))
			}
		}
	})
}

// A bubble cannot end while one of its goroutines lives. The context package would start a
// goroutine for a child that could not attach to its parent directly.
func TestContext_ChildrenOfTheGroupsContextsEndWithItAndCostNoGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		request := context.WithValue(t.Context(), traceKey{}, "7f")
		watch := func(ctx context.Context) error {
			for _, parent := range []context.Context{ctx, UntilInterrupt(ctx), UntilAbandon(ctx), context.WithValue(ctx, traceKey{}, 1)} {
				timeout, cancel1 := context.WithTimeout(parent, time.Hour)
				child, cancel2 := context.WithCancelCause(timeout)
				stop := context.AfterFunc(child, func() {})
				defer cancel1()
				defer cancel2(nil)
				defer stop()
				if waiting := goroutinesWith("created by context.(*cancelCtx).propagateCancel"); len(waiting) > 0 {
					t.Errorf("a goroutine watches a context:\n%s", waiting[0])
				}
				defer func() { <-child.Done() }()
			}
			return nil
		}
		mustStart(t, g.Go("go", watch))
		mustStart(t, g.Loop("loop", watch))
		mustStart(t, g.Background(request, "background", watch))
		synctest.Wait()
		g.Stop(nil)
		g.Wait()
	})
}

func TestCloseFunc_MakesACloserOfAFunctionWithoutContext(t *testing.T) {
	if err := CloseFunc(func() error { return errBroken })(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}
