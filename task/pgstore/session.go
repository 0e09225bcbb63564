package pgstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// session is the store's own connection to the server, outside the pool. It has a name by which
// neighbours see that this process lives, listens for announcements, and carries the workers'
// beats: what keeps a worker alive does not wait for requests. It waits for nobody's lock for long,
// since a session that waits is not ended at once when its client dies.
//
// It begins with its first use. When it is lost it is made anew at once, with the same name;
// meanwhile beats go over a spare connection, and the workers' rows say that the session is no
// evidence.
type session struct {
	cfg   sessionConfig
	once  sync.Once
	spare spare
	name  string // its application_name, which no other session has

	mu        sync.Mutex
	recorded  map[string]bool // the workers of this process: whether their rows name the session as it is
	phase     phase
	changed   chan struct{} // closed and replaced when recorded or phase change
	since     time.Time     // when it was made last
	lost      time.Time     // when it was lost last
	trust     trust         // whether its end may be evidence
	confirm   time.Duration // how long it must have been gone to be evidence; 0: it is none
	dirty     bool          // there is something to record
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
	// withdraw writes, over another connection, that the session of some workers is no evidence.
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

// sessionPrefix begins the names of sessions.
const sessionPrefix = "lastcall session "

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
	// missingPause is after how long a row is tried again that somebody has locked.
	missingPause = 50 * time.Millisecond
	// A session is evidence of its workers' death when it has been gone for three times as long as
	// they need to connect, within these bounds: a process that lost its connection, and not its
	// life, has withdrawn the session as evidence or made it again by then. What it needs is measured
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
	// slowConnect is how long connecting takes where no session is evidence: there would not be time
	// for a second attempt.
	slowConnect = time.Second
)

// errSessionLost means that a request was not answered, or not sent, on the session's connection.
var errSessionLost = errors.New("the connection for beats was lost")

// errPooled means that a pooler stands between us and the server that keeps no sessions.
var errPooled = errors.New("connections go through a pooler in transaction mode")

func newSession(cfg sessionConfig) *session {
	return &session{cfg: cfg, spare: spare{dial: cfg.dial, turn: make(chan struct{}, 1)}, name: sessionPrefix + rand.Text(),
		recorded: make(map[string]bool), changed: make(chan struct{})}
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

// register has the row of a registered worker name the session, and returns when it does, or soon:
// without a session the worker lives by its lease alone.
func (s *session) register(ctx context.Context, worker string) {
	s.mu.Lock()
	s.recorded[worker] = false
	s.nudge()
	s.mu.Unlock()
	s.begin()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s.await(ctx, func() bool {
		recorded, known := s.recorded[worker]
		return recorded || !known || s.phase == phaseImpossible
	})
}

// forget has nothing more written about a worker that is gone.
func (s *session) forget(worker string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.recorded, worker)
	s.broadcast()
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

// nudge has the session recorded; s.mu is held.
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
			s.cfg.log.Warn("connection for beats and announcements lost; trying again", "error", explain(err))
		}
		failed = err.Error()
		switch { // at once, since neighbours see that it is gone; then ever less often
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

// down records that the connection is gone, and returns for how long it was up.
func (s *session) down(impossible bool) (up time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var workers []string
	if s.phase == phaseUp {
		workers = slices.Collect(maps.Keys(s.recorded))
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
	s.recordAgain()
	for _, req := range s.queue {
		req.done <- errSessionLost
	}
	s.queue = nil
	if len(workers) > 0 && s.cfg.life.Err() == nil {
		s.cfg.start(func() { s.withdraw(workers) })
	}
	s.broadcast()
	return up
}

// withdraw says that the session of some workers is no evidence. It may have come after the session
// is back: therefore it is recorded once more.
func (s *session) withdraw(workers []string) {
	ctx, cancel := context.WithTimeout(s.cfg.life, maxConfirm)
	defer cancel()
	s.cfg.withdraw(ctx, workers)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recordAgain()
	s.nudge()
}

// recordAgain has the session written into its workers' rows; s.mu is held.
func (s *session) recordAgain() {
	for worker := range s.recorded {
		s.recorded[worker] = false
	}
}

// broadcast wakes the callers of await; s.mu is held.
func (s *session) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}
