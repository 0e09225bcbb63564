package pgstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// seen is what a detector sees of one worker.
type seen struct {
	gone    bool
	seq     uint64
	confirm time.Duration
}

// watchFor assesses one worker that was asked about just now, answered after some time.
func watchFor(d *failureDetector, see seen, answer time.Duration) task.Liveness {
	asked := time.Now()
	time.Sleep(answer)
	workers := []task.WorkerInfo{{Beat: task.Beat{Worker: "w", Seq: see.seq, Lease: 15 * time.Second}}}
	d.assess(workers, []sessionReading{{gone: &see.gone, confirm: see.confirm}}, asked, forever)
	return workers[0].Liveness
}

func TestFailureDetector_NeedsASessionThatIsGoneAndABeatThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := failureDetector{most: maxConfirm}
		see := seen{gone: true, seq: 7, confirm: 400 * time.Millisecond}
		for i, step := range []struct {
			after time.Duration
			gone  bool
			seq   uint64
			want  task.Liveness
		}{
			{0, false, 7, task.LivenessAlive},
			{0, true, 7, task.LivenessUnknown},
			{399 * time.Millisecond, true, 7, task.LivenessUnknown},
			{0, true, 8, task.LivenessUnknown}, // a beat came
			{399 * time.Millisecond, true, 8, task.LivenessUnknown},
			{0, false, 8, task.LivenessAlive}, // the session is back
			{0, true, 8, task.LivenessUnknown},
			{400 * time.Millisecond, true, 8, task.LivenessDead},
		} {
			time.Sleep(step.after)
			see.gone, see.seq = step.gone, step.seq
			if got := watchFor(&d, see, 0); got != step.want {
				t.Errorf("step %d: %s, want %s", i, got, step.want)
			}
		}
		if seq, dead := d.confirmed("w"); seq != 8 || !dead {
			t.Errorf("confirmed at beat %d: %v", seq, dead)
		}
	})
}

func TestFailureDetector_GivesAWorkerFarAwayTheTimeThatItAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := failureDetector{most: maxConfirm}
		see := seen{gone: true, seq: 1, confirm: time.Second}
		watchFor(&d, see, 0)
		time.Sleep(999 * time.Millisecond)
		if got := watchFor(&d, see, 0); got != task.LivenessUnknown {
			t.Errorf("%s before its time", got)
		}
		time.Sleep(time.Millisecond)
		if got := watchFor(&d, see, 0); got != task.LivenessDead {
			t.Errorf("%s after its time", got)
		}
	})
}

// The server may have read both states within a moment, although their answers came far apart.
func TestFailureDetector_DoesNotCountTheTimeThatAnAnswerTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := failureDetector{most: maxConfirm}
		see := seen{gone: true, seq: 1, confirm: 400 * time.Millisecond}
		watchFor(&d, see, 0)
		if got := watchFor(&d, see, 10*time.Second); got != task.LivenessUnknown {
			t.Errorf("%s", got)
		}
		if got := watchFor(&d, see, 0); got != task.LivenessDead {
			t.Errorf("%s at the next reading", got)
		}
	})
}

func TestFailureDetector_BelievesNoSessionForALeaseAfterItsOwnSessionWasLost(t *testing.T) {
	gone := true
	assess := func(d *failureDetector, lost time.Duration) task.Liveness {
		workers := []task.WorkerInfo{{Beat: task.Beat{Worker: "w", Seq: 1, Lease: 15 * time.Second}}}
		d.assess(workers, []sessionReading{{gone: &gone}}, time.Now(), lost)
		return workers[0].Liveness
	}
	synctest.Test(t, func(t *testing.T) {
		d := failureDetector{most: maxConfirm}
		if got := assess(&d, 14*time.Second); got != task.LivenessUnknown {
			t.Errorf("%s", got)
		}
		if _, dead := d.confirmed("w"); dead {
			t.Error("confirmed")
		}
		if got := assess(&d, 15*time.Second); got != task.LivenessDead {
			t.Errorf("%s after the lease", got)
		}
	})
}

func TestFailureDetector_KnowsNothingOfAWorkerWithoutASession(t *testing.T) {
	d := failureDetector{most: maxConfirm}
	workers := []task.WorkerInfo{{Beat: task.Beat{Worker: "w", State: task.WorkerRunning}}, {Beat: task.Beat{Worker: "gone", State: task.WorkerStopped}}}
	d.assess(workers, make([]sessionReading, 2), time.Now(), forever)
	if workers[0].Liveness != task.LivenessUnknown || workers[1].Liveness != task.LivenessDead {
		t.Errorf("%s, and %s of one that left", workers[0].Liveness, workers[1].Liveness)
	}
}

func TestSession_HasNeighboursWaitForLongerWhenTheNetworkBecomesSlower(t *testing.T) {
	dsn := migrated.DSN(t)
	near := openAt(t, Config{DSN: dsn, Migrate: true})
	defer closed(t, near)
	p, through := newProxy(t, dsn)
	far := openAt(t, Config{DSN: through})
	defer closed(t, far)
	beat := beatAt(t, far, 15*time.Second)
	if !eventually(t, dsn, `select confirm between 400000 and 1700000 from lastcall.workers`) {
		t.Error("the time is too long for a network that is quick")
	}
	p.delay.Store(int64(50 * time.Millisecond))
	if err := beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !eventually(t, dsn, `select confirm = 1750000 from lastcall.workers`) {
		t.Error("the time is too short for a network that is slow")
	}
	p.delay.Store(0)
	if err := far.session.exec(t.Context(), func(ctx context.Context, c *pgx.Conn) error { return far.session.check(ctx, c, c.PgConn().PID()) }); err != nil {
		t.Fatal(err)
	}
	far.session.mu.Lock()
	far.session.nudge()
	far.session.mu.Unlock()
	if !eventually(t, dsn, `select confirm < 1750000 from lastcall.workers`) {
		t.Error("the time stays as long as it was while the network was slow")
	}
}

func TestConfirmAfter_GrowsWithTheTimeThatConnectingTakes(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: minConfirm, 20 * time.Millisecond: minConfirm, 200 * time.Millisecond: 600 * time.Millisecond,
		320 * time.Millisecond: 950 * time.Millisecond, 640 * time.Millisecond: maxConfirm, time.Second: maxConfirm,
		1001 * time.Millisecond: 0,
	} {
		if got := confirmAfter(took); got != want {
			t.Errorf("%v: %v, want %v", took, got, want)
		}
	}
}
