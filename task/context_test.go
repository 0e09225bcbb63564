package task

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestRunContext_ARunsContextEndsLikeAChildOfItsWorkers(t *testing.T) {
	cause, later := errors.New("the cause"), errors.New("too late")
	type key struct{}
	for name, tc := range map[string]struct {
		end  func(c *runContext, parent context.CancelCauseFunc)
		want error
	}{
		"not at all":         {func(*runContext, context.CancelCauseFunc) {}, nil},
		"with a cause":       {func(c *runContext, _ context.CancelCauseFunc) { c.cancel(cause); c.cancel(later) }, cause},
		"with its parent":    {func(_ *runContext, parent context.CancelCauseFunc) { parent(cause) }, cause},
		"before its parent":  {func(c *runContext, parent context.CancelCauseFunc) { c.cancel(cause); parent(later) }, cause},
		"after its parent":   {func(c *runContext, parent context.CancelCauseFunc) { parent(cause); c.cancel(later) }, cause},
		"when it is over":    {func(c *runContext, _ context.CancelCauseFunc) { c.end() }, context.Canceled},
		"over, then a cause": {func(c *runContext, _ context.CancelCauseFunc) { c.end(); c.cancel(later) }, context.Canceled},
	} {
		for _, look := range []string{"never", "before", "by a child", "by a function"} {
			t.Run(name+", looked at "+look, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, 1))
					defer cancel(nil)
					c := &runContext{parent: parent}
					defer c.end()
					var (
						child  context.Context = c
						called bool
					)
					switch look {
					case "before":
						if c.Err() != nil {
							t.Fatal(c.Err())
						}
					case "by a child":
						var release context.CancelFunc
						child, release = context.WithTimeout(c, time.Hour)
						defer release()
					case "by a function":
						context.AfterFunc(c, func() { called = true })
					}
					tc.end(c, cancel)
					synctest.Wait()
					for _, ctx := range []context.Context{c, child} {
						if got := context.Cause(ctx); !errors.Is(got, tc.want) || (got == nil) != (tc.want == nil) {
							t.Errorf("cause %v, want %v", got, tc.want)
						}
						if ended := ctx.Err() != nil; ended != (tc.want != nil) || closed(ctx.Done()) != ended {
							t.Errorf("error %v, done %t, with the cause %v", ctx.Err(), closed(ctx.Done()), tc.want)
						}
						if ctx.Value(key{}) != 1 {
							t.Error("a value of the parent's is gone")
						}
					}
					if look == "by a function" && called != (tc.want != nil) {
						t.Errorf("function called: %t", called)
					}
				})
			})
		}
	}
}

func TestRunContext_ARunsContextCostsItsParentNothingUntilSomebodyLooks(t *testing.T) {
	parent := &countedContext{Context: t.Context()}
	c := &runContext{parent: parent}
	if _, ok := c.Deadline(); ok || c.Value("key") != nil {
		t.Error("a deadline or a value out of nothing")
	}
	if cause := c.cause(); cause != nil {
		t.Errorf("cause %v", cause)
	}
	c.end()
	if parent.asked != 0 {
		t.Errorf("the parent was asked %d times for its end", parent.asked)
	}
}

// countedContext counts the callers that ask about its end.
type countedContext struct {
	context.Context
	asked int
}

func (c *countedContext) Done() <-chan struct{} {
	c.asked++
	return c.Context.Done()
}
