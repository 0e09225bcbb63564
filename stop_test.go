package lastcall

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestReport_SaysWhoFinishedWhoWasInterruptedAndWhoWasAbandoned(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, log := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		mustStart(t, g.Go("unresponsive", unresponsive(letGo)))
		mustStart(t, g.Go("before the stop", takes(0)))
		time.Sleep(time.Minute)
		for range 3 {
			mustStart(t, g.Go("work", obedient))
		}
		mustStart(t, g.Loop("consumer", obedient))
		g.Stop(nil)
		r := g.Wait()
		wantReport(t, r, 3, "loop consumer", "go work x3", "go unresponsive")
		if a := r.Abandoned[0]; a.Age != time.Minute+atAbandon || !strings.Contains(a.CallSite, "/stop_test.go:") {
			t.Errorf("abandoned: %+v", a)
		}
		if i := r.Interrupted[0]; i.Age < atInterrupt || !errors.Is(i.Err, i.Err) || i.Err == nil || i.Stack != "" {
			t.Errorf("interrupted: %+v", i)
		}
		if f := r.Finished[0]; f.Age != 0 || f.CallSite == "" || f.Stack != "" {
			t.Errorf("finished: %+v", f)
		}
		if len(log.lines("msg=stopped", "code=3", "finished=1", "interrupted=3", "abandoned=1")) != 1 {
			t.Errorf("the log is %s", log)
		}
	})
}

func TestReport_WhoReturnsAfterAbandonIsNotCountedTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		mustStart(t, g.Go("unresponsive", unresponsive(letGo)))
		mustStart(t, g.Go("late", func(context.Context) error { <-letGo; return errBroken }))
		g.Defer("slow", func(context.Context) error { close(letGo); time.Sleep(100 * time.Millisecond); return nil })
		g.Stop(nil)
		wantReport(t, g.Wait(), 3, "", "", "go late, go unresponsive")
	})
}

// busyServer takes a while to stop accepting.
type busyServer struct{ takes time.Duration }

func (s busyServer) drain()                        { time.Sleep(s.takes) }
func (busyServer) drained() bool                   { return true }
func (busyServer) interrupt()                      {}
func (busyServer) abandon()                        {}
func (busyServer) release()                        {}
func (busyServer) open() []Entry                   { return nil }
func (busyServer) served() (finished, cut []Entry) { return nil, nil }

// On a busy machine a stop is late. What is left of the reserve is shared.
func TestInterrupt_ThatIsLateLeavesTheWorkHalfOfTheTimeThatIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _ := testConfig()
		cfg.Grace = 2 * time.Second // Interrupt is at 1 s, Abandon at 1.5 s, and the closers end at 1.9 s
		g := mustNew(t.Context(), t, cfg)
		g.servers = append(g.servers, busyServer{480 * time.Millisecond}) // too short for a freeze
		var until time.Time
		mustStart(t, g.Go("records", func(ctx context.Context) error {
			<-ctx.Done()
			if cause := new(InterruptError); errors.As(context.Cause(ctx), &cause) {
				until = cause.Until
			}
			time.Sleep(200 * time.Millisecond)
			return nil
		}))
		began := time.Now()
		g.Stop(nil)
		r := g.Wait()
		wantReport(t, r, 0, "go records", "", "")
		wantTook(t, "the time until Abandon", until.Sub(began), (1480+1900)/2*time.Millisecond, 0)
		if r.Frozen != 0 {
			t.Errorf("the process counts as frozen for %v", r.Frozen)
		}
	})
}
