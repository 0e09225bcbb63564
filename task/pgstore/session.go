package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// session is the store's own connection to the server, outside the pool. It holds an advisory lock
// for each worker of this process, listens for announcements, and carries the workers' beats: what
// keeps a worker alive does not wait for requests. It never waits for anybody's lock, since a
// session that waits is not ended at once when its client dies.
//
// It begins with its first use. When it is lost it is made anew at once, and takes the locks again;
// meanwhile beats go over a spare connection, and the workers' rows say that their locks are no
// evidence.
type session struct {
	cfg   sessionConfig
	once  sync.Once
	spare spare

	mu        sync.Mutex
	locks     map[string]*workerLock // by worker
	phase     phase
	changed   chan struct{} // closed and replaced when locks or phase change
	since     time.Time     // when it was made last
	lost      time.Time     // when it was lost last
	trust     trust         // whether a lock of ours may be evidence
	confirm   time.Duration // how long a lock of ours must have been free to be evidence; 0: it is none
	dirty     bool          // locks have changed since they were synchronised
	queue     []*request
	interrupt context.CancelFunc // ends the wait for an announcement
}

// sessionConfig is what a session needs to know of its store.
type sessionConfig struct {
	// dial makes a connection that does not belong to the pool.
	dial func(context.Context) (*pgx.Conn, error)
	// pooling is what dial leads through.
	pooling pooling
	// statements are the store's; channel is the name of the announcements.
	statements *statements
	channel    string
	// timeout bounds the making of a connection. One that is lost twice within steady is expected
	// to be lost again.
	timeout, steady time.Duration
	log             *slog.Logger
	// life ends the session; start runs a function in a goroutine that the store waits for.
	life  context.Context
	start func(func())
	// onNotify hears announcements. onConnect is called when there may have been some that nobody
	// heard.
	onNotify  func(payload string)
	onConnect func()
	// withdraw writes, over another connection, that the locks of some workers are no evidence.
	withdraw func(ctx context.Context, workers []string)
}

// phase is where a session is in its life.
type phase int

const (
	phaseDown phase = iota
	phaseUp
	phaseImpossible // behind a pooler that keeps no sessions
)

// trust is whether a worker that lost its connection would be back in time.
type trust int

const (
	trusted  trust = iota
	farAway        // connecting takes too long
	unsteady       // the connection is lost time and again, and so may be an attempt to connect
)

// workerLock is the lock of a worker.
type workerLock struct {
	wanted   bool
	held     bool
	recorded bool // in the worker's row
}

// request is something to be done on the session's connection.
type request struct {
	ctx  context.Context // the caller's, who may have left
	fn   func(context.Context, *pgx.Conn) error
	done chan error
}

const (
	// requestPatience bounds a request, and the server's part of it. Then the connection counts as
	// lost.
	requestPatience = 4 * time.Second
	// minPause and maxPause bound the time between two attempts to connect.
	minPause = 50 * time.Millisecond
	maxPause = 2 * time.Second
	// missingPause is after how long a lock is tried again that a neighbour is just probing.
	missingPause = 50 * time.Millisecond
	// The lock of a worker is evidence of its death when it has been free for three times as long
	// as the worker needs to connect, within these bounds: a worker that lost its connection, and
	// not its life, has withdrawn the lock or taken it again by then. What it needs is measured
	// when it connects, and after that taken from its round trips.
	minConfirm = 400 * time.Millisecond
	maxConfirm = 1750 * time.Millisecond
	// confirmStep keeps the time the same from one connection to the next.
	confirmStep = 50 * time.Millisecond
	// firstCheck is after how long that time is measured again: a process that has just begun
	// connects more slowly than it will.
	firstCheck = time.Second
	// steadyAfter is after how long a connection is trusted again that was lost twice in less.
	steadyAfter = 30 * time.Second
	// slowConnect is how long connecting takes where no lock is evidence: there would not be time
	// for a second attempt.
	slowConnect = time.Second
)

// errSessionLost means that a request was not answered, or not sent, on the session's connection.
var errSessionLost = errors.New("the connection for locks and beats was lost")

// errPooled means that a pooler stands between us and the server that keeps no sessions.
var errPooled = errors.New("connections go through a pooler in transaction mode")

func newSession(cfg sessionConfig) *session {
	return &session{cfg: cfg, spare: spare{dial: cfg.dial, turn: make(chan struct{}, 1)},
		locks: make(map[string]*workerLock), changed: make(chan struct{})}
}

// begin makes the connection, once.
func (s *session) begin() {
	s.once.Do(func() {
		if s.cfg.life.Err() == nil {
			s.cfg.start(s.run)
		}
	})
}

// close keeps the session from beginning. What has begun ends with the store's life.
func (s *session) close() { s.once.Do(func() {}) }

// lock has the session hold the lock of a registered worker, and returns when it does and the
// worker's row says so, or soon: without a session the worker lives by its lease alone.
func (s *session) lock(ctx context.Context, worker string) {
	s.mu.Lock()
	if s.locks[worker] == nil {
		s.locks[worker] = new(workerLock)
	}
	s.locks[worker].wanted = true
	s.nudge()
	s.mu.Unlock()
	s.begin()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s.await(ctx, func() bool {
		l := s.locks[worker]
		return l == nil || l.held && l.recorded || s.phase == phaseImpossible
	})
}

// unlock lets go of the lock of a worker, and returns when that is done, or the connection is down
// and the server has done it.
func (s *session) unlock(ctx context.Context, worker string) {
	s.mu.Lock()
	if l := s.locks[worker]; l != nil {
		l.wanted = false
		if !l.held {
			delete(s.locks, worker)
		}
	}
	s.nudge()
	s.mu.Unlock()
	s.await(ctx, func() bool { return s.locks[worker] == nil || s.phase != phaseUp })
}

// await returns when something is true, or ctx or the session has ended; s.mu is held meanwhile.
func (s *session) await(ctx context.Context, what func() bool) {
	for {
		s.mu.Lock()
		ok, changed := what(), s.changed
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-s.cfg.life.Done():
			return
		}
	}
}

// nudge has the locks synchronised; s.mu is held.
func (s *session) nudge() {
	s.dirty = true
	if s.interrupt != nil {
		s.interrupt()
	}
}

// isUp reports whether announcements are heard.
func (s *session) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == phaseUp
}

// lostFor is how long ago the connection was lost; forever, if it never was.
func (s *session) lostFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase == phaseImpossible:
		return 0
	case s.lost.IsZero():
		return forever
	case s.phase == phaseDown:
		return 0
	}
	return time.Since(s.lost)
}

const forever = time.Duration(1<<63 - 1)

// exec runs fn, which must not wait and may be repeated, on the session's connection between two
// announcements; while there is none, and when it is lost in the middle, on a spare one. When ctx
// ends first, fn may still be running: its results are not to be touched then.
func (s *session) exec(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	s.begin()
	if req := s.submit(ctx, fn); req != nil {
		select {
		case err := <-req.done:
			if !errors.Is(err, errSessionLost) {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return s.spare.exec(ctx, fn)
}

// submit queues a request, unless there is no connection.
func (s *session) submit(ctx context.Context, fn func(context.Context, *pgx.Conn) error) *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseUp {
		return nil
	}
	req := &request{ctx: ctx, fn: fn, done: make(chan error, 1)}
	s.queue = append(s.queue, req)
	if s.interrupt != nil {
		s.interrupt()
	}
	return req
}

// next takes a request from the queue, nil if there is none.
func (s *session) next() *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	req := s.queue[0]
	s.queue = s.queue[1:]
	return req
}

// serveQueue does what has been submitted.
func (s *session) serveQueue(ctx context.Context, conn *pgx.Conn) error {
	for req := s.next(); req != nil; req = s.next() {
		if req.ctx.Err() != nil {
			continue // the caller has left
		}
		limited, cancel := context.WithTimeout(ctx, requestPatience)
		began := time.Now()
		err := req.fn(limited, conn)
		cancel()
		if err == nil {
			s.noteRoundTrip(time.Since(began))
		}
		if err != nil && (conn.IsClosed() || isUnusableSession(err)) {
			err = fmt.Errorf("%w: %w", errSessionLost, err)
			req.done <- err
			return err
		}
		req.done <- err
	}
	return nil
}

// run keeps the connection up until the store is closed.
func (s *session) run() {
	defer s.spare.close()
	var (
		failed string
		pause  time.Duration
	)
	for {
		err := s.serve(s.cfg.life)
		up := s.down(errors.Is(err, errPooled))
		switch {
		case s.cfg.life.Err() != nil:
			return
		case errors.Is(err, errPooled):
			s.cfg.log.Warn("the connections go through a pooler in transaction mode: a dead worker's tasks are taken over only when its lease has run out, and new tasks of other processes are found by polling; give an address that leads to the server itself")
			<-s.cfg.life.Done() // the spare connection is in use
			return
		case err.Error() != failed:
			s.cfg.log.Warn("connection for locks, beats and announcements lost; trying again", "error", explain(err))
		}
		failed = err.Error()
		switch { // at once, since neighbours see the locks free; then ever less often
		case up > time.Second:
			pause = 0
		case up > 0:
			pause = minPause
		default:
			pause = min(max(minPause, 2*pause), maxPause)
		}
		select {
		case <-time.After(pause):
		case <-s.cfg.life.Done():
			return
		}
	}
}

// down records that the connection is gone, and the locks with it, and returns for how long it was
// up.
func (s *session) down(impossible bool) (up time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == phaseUp {
		now := time.Now()
		s.trust = trusted
		if !s.lost.IsZero() && now.Sub(s.lost) < s.cfg.steady {
			s.trust = unsteady
		}
		s.lost, up = now, now.Sub(s.since)
	}
	s.phase = phaseDown
	if impossible {
		s.phase = phaseImpossible
	}
	var held []string
	for worker, l := range s.locks {
		if l.held {
			held = append(held, worker)
		}
		l.held, l.recorded = false, false
		if !l.wanted {
			delete(s.locks, worker)
		}
	}
	for _, req := range s.queue {
		req.done <- errSessionLost
	}
	s.queue = nil
	if len(held) > 0 && s.cfg.life.Err() == nil {
		s.cfg.start(func() { s.withdraw(held) })
	}
	s.broadcast()
	return up
}

// withdraw says of some locks that they are no evidence. It may have come after the session has
// taken them again: therefore they are recorded once more.
func (s *session) withdraw(workers []string) {
	ctx, cancel := context.WithTimeout(s.cfg.life, maxConfirm)
	defer cancel()
	s.cfg.withdraw(ctx, workers)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recordAgain()
	s.nudge()
}

// recordAgain has the locks written into their workers' rows; s.mu is held.
func (s *session) recordAgain() {
	for _, l := range s.locks {
		l.recorded = false
	}
}

// broadcast wakes the callers of await; s.mu is held.
func (s *session) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}
