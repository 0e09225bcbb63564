package lastcall

import (
	"context"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// stuckHandler blocks, as a logger on a full pipe does.
type stuckHandler struct {
	slog.Handler
	until chan struct{}
}

func (h stuckHandler) Handle(ctx context.Context, r slog.Record) error {
	<-h.until
	return h.Handler.Handle(ctx, r)
}

func stuckConfig() (Config, *written, chan struct{}) {
	cfg, log := testConfig()
	until := make(chan struct{})
	cfg.Logger = slog.New(stuckHandler{cfg.Logger.Handler(), until})
	return cfg, log, until
}

func TestJournal_ALoggerThatBlocksDoesNotHoldUpTheStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, log, until := stuckConfig()
		g := mustNew(t.Context(), t, cfg)
		mustStart(t, g.Go("work", takes(time.Second)))
		closed := time.Time{}
		g.Defer("db", func(context.Context) error { closed = time.Now(); return errBroken })
		began := time.Now()
		g.Stop(nil)
		r := g.Wait()
		if r.ExitCode() != 1 || r.Took != time.Second {
			t.Errorf("%v", r)
		}
		wantTook(t, "the way to the closer", closed.Sub(began), time.Second, 0)
		wantTook(t, "the stop", time.Since(began), time.Second, time.Second)
		close(until) // the queued lines are written now
		synctest.Wait()
		if len(log.lines("msg=stopped")) != 1 {
			t.Errorf("the log is %s", log)
		}
	})
}

func TestJournal_ALoggerThatBlocksDoesNotHoldUpTheBeginOfAStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _, until := stuckConfig()
		defer close(until)
		g := mustNew(t.Context(), t, cfg)
		mustStart(t, g.Loop("service", obedient))
		mustStart(t, g.Go("broken", func(context.Context) error { return errBroken }))
		began := time.Now()
		wantReport(t, g.Wait(), 1, "loop service", "", "")
		wantTook(t, "the stop", time.Since(began), 0, time.Second)
	})
}

func TestJournal_ALoggerThatBlocksDoesNotMakeAStopLongerThanItsBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg, _, until := stuckConfig()
		defer close(until)
		letGo := make(chan struct{})
		defer close(letGo)
		p := runMain(cfg, func(_ context.Context, g *Group) error {
			mustStart(t, g.Go("unresponsive", unresponsive(letGo)))
			g.Defer("hangs", unresponsive(letGo))
			return nil
		})
		began := time.Now()
		p.signal(syscall.SIGTERM)
		if code := <-p.code; code != 3 || len(p.forced) > 0 {
			t.Errorf("code %d, forced %d times", code, len(p.forced))
		}
		wantTook(t, "the stop", time.Since(began), atClosed, maxReportTime)
	})
}

func TestJournal_LinesBeyondTheQueueAreDroppedAndCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var j journal
		log := &written{}
		until := make(chan struct{})
		slow := slog.New(stuckHandler{log.logger().Handler(), until})
		j.log(log.logger(), slog.LevelInfo, "written directly")
		j.queue()
		for range journalSize + 100 {
			j.log(slow, slog.LevelInfo, "queued")
		}
		go func() { time.Sleep(10 * time.Millisecond); close(until) }()
		time.Sleep(20 * time.Millisecond)
		j.finish(log.logger(), time.Second)
		j.log(log.logger(), slog.LevelInfo, "directly again")
		if n := len(log.lines("msg=queued")); n < journalSize || n > journalSize+1 {
			t.Errorf("%d lines were written", n)
		}
		if len(log.lines("level=WARN", "dropped", "lines=")) != 1 || len(log.lines("directly")) != 2 {
			t.Errorf("the log is %s", log.lines("drop"))
		}
	})
}
