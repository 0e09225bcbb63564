package pgstore

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// beatAt registers the worker w and returns a function that sends its next beat.
func beatAt(t *testing.T, s *Store, lease time.Duration) func(context.Context) error {
	t.Helper()
	b := task.Beat{Worker: "w", State: task.WorkerRunning, Lease: lease}
	beat := func(ctx context.Context) error {
		b.Seq++
		_, err := s.Heartbeat(ctx, b)
		return err
	}
	if err := beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	return beat
}

// lifeOf returns what a store reports about the worker w.
func lifeOf(t *testing.T, s *Store) task.WorkerInfo {
	t.Helper()
	all, err := s.Workers(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	return all[0]
}

// busy is how much later a busy machine may notice a death. The lease is 15 s.
const busy = 3 * time.Second

// untilDead monitors the worker w as another worker does, and returns how long it took until its
// death was certain.
func untilDead(t *testing.T, s *Store) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx := soon(t); lifeOf(t, s).Liveness != task.LivenessDead; <-tick.C {
		if ctx.Err() != nil {
			t.Fatal("it is not known to be dead after a minute")
		}
	}
	return time.Since(began)
}

func TestSession_IsBackInTimeOverASlowNetworkThatBreaks(t *testing.T) {
	dsn := migrated.DSN(t)
	near := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, near)
	p, through := newProxy(t, dsn)
	p.delay.Store(int64(60 * time.Millisecond))
	far := openAt(t, Config{DSN: through, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, far)
	far.session.cfg.steady = 0 // it stays evidence all the time
	beatAt(t, far, 15*time.Second)
	if got := lifeOf(t, near).Liveness; got != task.LivenessAlive {
		t.Fatalf("%s, with a session", got)
	}
	var dead atomic.Bool
	watching, stop := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for watching.Err() == nil {
			if all, err := near.Workers(watching); err == nil && len(all) == 1 && all[0].Liveness == task.LivenessDead {
				dead.Store(true)
			}
			<-tick.C
		}
	}()
	const cuts = 5
	for range cuts {
		<-time.After(rand.N(300 * time.Millisecond))
		p.cut()
		awaitSession(t, far.session, func() bool { return far.session.phase == phaseDown })
		awaitRecorded(t, far)
	}
	stop()
	<-watched
	if dead.Load() {
		t.Error("a live worker was taken for dead")
	}

	// A machine that needs more than a second to connect has a session that is no evidence, until it
	// has measured again.
	awaitSession(t, far.session, func() bool { return far.session.recorded["w"] && far.session.confirm > 0 })
	far.end() // as if it had been killed
	if took := untilDead(t, near); took > maxConfirm+busy {
		t.Errorf("its death was certain after %v", took)
	}
}

func TestSession_ThatDoesNotComeBackKillsNobodyWhoseOtherConnectionsWork(t *testing.T) {
	dsn := migrated.DSN(t)
	near := openAt(t, Config{DSN: dsn, Migrate: true})
	defer closed(t, near)
	p, through := newProxy(t, dsn)
	far := openAt(t, Config{DSN: through, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, far)
	beatAt(t, far, 15*time.Second)
	if err := far.Ping(t.Context()); err != nil { // the pool has a connection
		t.Fatal(err)
	}
	p.refuses.Store(true)
	endSession(t, dsn, far)
	if !eventually(t, dsn, `select boot is null from lastcall.workers`) {
		t.Fatal("the session that was lost is still evidence")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < 2*minConfirm; <-tick.C {
		if got := lifeOf(t, near).Liveness; got != task.LivenessUnknown {
			t.Fatalf("%s after %v", got, time.Since(began))
		}
	}
	p.refuses.Store(false)
	awaitRecorded(t, far)
	if !eventually(t, dsn, `select boot is not null from lastcall.workers`) {
		t.Error("the session that is back is no evidence")
	}
}

func TestSession_ThatIsLostTimeAndAgainIsNoEvidenceUntilItIsSteady(t *testing.T) {
	dsn := migrated.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	const long = time.Hour
	s.session.cfg.steady = long
	beatAt(t, s, 15*time.Second)
	lose := func() {
		t.Helper()
		s.session.mu.Lock()
		before := s.session.lost
		s.session.mu.Unlock()
		endSession(t, dsn, s)
		awaitSession(t, s.session, func() bool { return s.session.lost != before && s.session.phase == phaseUp })
		awaitRecorded(t, s)
	}
	lose()
	if !eventually(t, dsn, `select boot is not null from lastcall.workers`) {
		t.Error("a session that was lost once is no evidence")
	}
	lose()
	if !eventually(t, dsn, `select boot is null from lastcall.workers`) {
		t.Error("a session that was lost twice is evidence")
	}
	s.session.mu.Lock()
	s.session.since = s.session.since.Add(-2 * long)
	s.session.mu.Unlock()
	check := func(ctx context.Context, c *pgx.Conn) error { return s.session.check(ctx, c, c.PgConn().PID()) }
	if err := s.session.exec(t.Context(), check); err != nil {
		t.Fatal(err)
	}
	s.session.mu.Lock()
	s.session.nudge()
	s.session.mu.Unlock()
	if !eventually(t, dsn, `select boot is not null from lastcall.workers`) {
		t.Error("a session that has been up for long is no evidence")
	}
}

func TestFailureDetector_ADeadProcessIsKnownAfterABreathOnALocalNetwork(t *testing.T) {
	dsn := migrated.DSN(t)
	a := openAt(t, Config{DSN: dsn, Migrate: true})
	defer closed(t, a)
	b := openAt(t, Config{DSN: dsn})
	defer closed(t, b)
	beatAt(t, a, 15*time.Second)
	if got := lifeOf(t, b).Liveness; got != task.LivenessAlive {
		t.Fatalf("%s, with a session", got)
	}
	a.end() // as if it had been killed
	took := untilDead(t, b)
	if took < minConfirm || took > maxConfirm+busy {
		t.Errorf("its death was certain after %v", took)
	}
	if _, err := b.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Evidence: true, Seq: 1, Max: 1}); err != nil {
		t.Error(err)
	}
}

// A beat after the last reading makes that reading worthless.
func TestReclaim_BelievesNoSessionOfAWorkerWhoseBeatHasMovedSince(t *testing.T) {
	dsn := migrated.DSN(t)
	a := openAt(t, Config{DSN: dsn, Migrate: true})
	defer closed(t, a)
	b := openAt(t, Config{DSN: dsn})
	defer closed(t, b)
	beatAt(t, a, 15*time.Second)
	a.end()
	untilDead(t, b)
	exec(t, dsn, `update lastcall.workers set seq = 2`)
	if _, err := b.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Evidence: true, Seq: 1, Max: 1}); !errors.Is(err, task.ErrWorkerAlive) {
		t.Errorf("after a beat: %v", err)
	}
	exec(t, dsn, `update lastcall.workers set seq = 1, boot = null`)
	if _, err := b.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Evidence: true, Seq: 1, Max: 1}); !errors.Is(err, task.ErrWorkerAlive) {
		t.Errorf("after the session was withdrawn: %v", err)
	}
}

func TestHeartbeat_DoesNotWaitForAPoolThatRequestsHaveExhausted(t *testing.T) {
	dsn := migrated.DSN(t)
	a := openAt(t, Config{DSN: pgtest.Keywords(dsn, "pool_max_conns", "4"), Migrate: true})
	defer closed(t, a)
	b := openAt(t, Config{DSN: dsn})
	defer closed(t, b)
	const lease = time.Second
	beat := beatAt(t, a, lease)
	for range 4 {
		c, err := a.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Release()
	}
	tick := time.NewTicker(lease / 5)
	defer tick.Stop()
	seq := uint64(1)
	for range 10 { // two leases
		<-tick.C
		short, cancel := context.WithTimeout(t.Context(), lease/2)
		err := beat(short)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		got := lifeOf(t, b)
		if got.Liveness != task.LivenessAlive || got.Seq != seq+1 {
			t.Errorf("%s at beat %d, want it alive at %d", got.Liveness, got.Seq, seq+1)
		}
		seq++
	}
	if _, err := b.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Evidence: true, Seq: seq, Max: 1}); !errors.Is(err, task.ErrWorkerAlive) {
		t.Errorf("Reclaim: %v", err)
	}

	// The session is lost too, and cannot come back for a moment: so the store opens a spare
	// connection.
	a.session.mu.Lock()
	a.session.phase = phaseDown
	a.session.mu.Unlock()
	if err := beat(t.Context()); err != nil {
		t.Errorf("without a session: %v", err)
	}
	if got := lifeOf(t, b); got.Seq != seq+1 {
		t.Errorf("beat %d, want %d", got.Seq, seq+1)
	}
}
