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
// other workers see that this process lives, listens for announcements, and carries the workers'
// beats, so that beats do not wait for requests. It never waits long for a lock: the server does
// not at once end a session that waits when its client dies.
//
// The session begins with its first use. When the connection is lost, it is opened again at once,
// with the same name. Meanwhile beats go over a spare connection, and the workers' rows say that
// the session is no evidence.
type session struct {
	cfg   sessionConfig
	once  sync.Once
	spare spare
	name  string // its application_name, which no other session has

	mu sync.Mutex
	// For each worker of this process, whether its row describes the session as it is.
	recorded   map[string]bool
	phase      phase
	changed    chan struct{} // closed and replaced when recorded or phase change
	since      time.Time     // when the connection was opened last
	connection int64         // its number, from 1
	lost       time.Time     // when it was lost last
	trust      trust         // whether the end of the session may be evidence
	confirm    time.Duration // how long the session must have been gone to be evidence; 0: it never is
	dirty      bool          // there is something to record
	queue      []*request
	interrupt  context.CancelFunc // ends the wait for an announcement
}

// sessionConfig is what a session needs to know of its store.
type sessionConfig struct {
	// dial opens a connection outside the pool.
	dial func(context.Context) (*pgx.Conn, error)
	// pooling is the kind of pooler that dial connects through.
	pooling pooling
	// statements are the store's; channel is the name of the channel of announcements.
	statements *statements
	channel    string
	// timeout bounds the opening of a connection. A connection that is lost twice within steady is
	// expected to be lost again.
	timeout, steady time.Duration
	log             *slog.Logger
	// life ends the session; start runs a function in a goroutine that the store waits for.
	life  context.Context
	start func(func())
	// onNotify receives announcements. onConnect is called when some may have been missed.
	onNotify  func(payload string)
	onConnect func()
	// withdraw records, over another connection, that the session of some workers is no evidence since
	// that connection was lost.
	withdraw func(ctx context.Context, workers []string, lost int64)
}

// phase is whether the session has a connection.
type phase int

const (
	phaseDown phase = iota
	phaseUp
	phaseImpossible // behind a pooler that keeps no sessions
)

// trust is whether a worker that lost its connection would be connected again in time.
type trust int

const (
	trusted  trust = iota
	farAway        // connecting takes too long
	unsteady       // the connection is often lost, and so may be a new one
)

// sessionPrefix begins the name of every session.
const sessionPrefix = "lastcall session "

// request is work to do on the session's connection.
type request struct {
	ctx  context.Context // the caller's; the caller may have stopped waiting
	fn   func(context.Context, *pgx.Conn) error
	done chan error
}

const (
	// requestPatience bounds a request, with the server's part of it. When it is over the connection
	// counts as lost.
	requestPatience = 4 * time.Second
	// minPause and maxPause bound the time between two attempts to connect.
	minPause = 50 * time.Millisecond
	maxPause = 2 * time.Second
	// missingPause is the time after which a row that another transaction has locked is tried again.
	missingPause = 50 * time.Millisecond
	// A session is evidence of its workers' death when it has been gone for three times as long as
	// they need to connect, within these bounds. By then a process that has only lost its connection
	// has withdrawn the session as evidence, or has connected again. The time to connect is measured
	// when the session connects, and later estimated from its round trips.
	minConfirm = 400 * time.Millisecond
	maxConfirm = 1750 * time.Millisecond
	// confirmStep is what the time is rounded to, so that it is the same for most connections.
	confirmStep = 50 * time.Millisecond
	// firstCheck is when that time is measured again: a process that has just started connects more
	// slowly than it will later.
	firstCheck = time.Second
	// steadyAfter is how long a connection must last to be trusted again after two losses in less.
	steadyAfter = 30 * time.Second
	// slowConnect is the time to connect above which a session is never evidence: there would be no
	// time for a second attempt.
	slowConnect = time.Second
)

// errSessionLost means that a request was not sent, or not answered, on the session's connection.
var errSessionLost = errors.New("the connection for beats was lost")

// errPooled means that a pooler between this process and the server keeps no sessions.
var errPooled = errors.New("connections go through a pooler in transaction mode")

func newSession(cfg sessionConfig) *session {
	return &session{cfg: cfg, spare: spare{dial: cfg.dial, turn: make(chan struct{}, 1)}, name: sessionPrefix + rand.Text(),
		recorded: make(map[string]bool), changed: make(chan struct{})}
}

// begin starts the goroutine that keeps the connection, once.
func (s *session) begin() {
	s.once.Do(func() {
		if s.cfg.life.Err() == nil {
			s.cfg.start(s.run)
		}
	})
}

// close keeps the session from beginning. A session that has begun ends with the life of the store.
func (s *session) close() { s.once.Do(func() {}) }

// register has the row of a registered worker name the session. It returns when the row does so, or
// after two seconds: a worker without a session lives by its lease alone.
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

// forget stops recording anything for a worker that is gone.
func (s *session) forget(worker string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.recorded, worker)
	s.broadcast()
}

// await returns when a condition is true, or when ctx or the session has ended. It holds s.mu while
// it calls what.
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

// nudge has the session recorded in the workers' rows soon. The caller holds s.mu.
func (s *session) nudge() {
	s.dirty = true
	if s.interrupt != nil {
		s.interrupt()
	}
}

// isUp reports whether announcements are received.
func (s *session) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == phaseUp
}

// lostFor returns how long ago the connection was lost, and forever if it never was.
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

// exec runs fn on the session's connection, between two announcements. While there is no
// connection, or when it is lost during the call, exec runs fn on a spare one. fn must not wait for
// long, and may run twice. If ctx ends first, fn may still be running, and the caller must not
// touch its results.
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

// next takes a request from the queue, or returns nil if the queue is empty.
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

// serveQueue carries out the requests that have been submitted.
func (s *session) serveQueue(ctx context.Context, conn *pgx.Conn) error {
	for req := s.next(); req != nil; req = s.next() {
		if req.ctx.Err() != nil {
			continue // the caller no longer waits
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
		// At once at first, since other workers see that the session is gone; then less and less often.
		switch {
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

// down records that the connection is gone, and returns how long it was up.
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
	if lost := s.connection; len(workers) > 0 && s.cfg.life.Err() == nil {
		s.cfg.start(func() { s.withdraw(workers, lost) })
	}
	s.broadcast()
	return up
}

// withdraw records that the session of some workers is no evidence, unless it is back by then.
func (s *session) withdraw(workers []string, lost int64) {
	ctx, cancel := context.WithTimeout(s.cfg.life, maxConfirm)
	defer cancel()
	s.cfg.withdraw(ctx, workers, lost)
}

// recordAgain has the session written into the rows of its workers again. The caller holds s.mu.
func (s *session) recordAgain() {
	for worker := range s.recorded {
		s.recorded[worker] = false
	}
}

// broadcast wakes the callers of await. The caller holds s.mu.
func (s *session) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}
