package pgstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// line is the store's own connection, which never waits for anything: it holds the locks of this
// process's workers and listens for other processes' announcements. It begins with the first worker
// or the first who waits. When it is lost it is made anew, and the locks are taken again.
type line struct {
	s    *Store
	once sync.Once

	mu     sync.Mutex
	wanted map[int32]bool
	held   map[int32]*time.Time // by number: the start of the server that gave the lock
	state  chan struct{}        // closed and replaced when held, up or pooled change
	up     bool
	pooled bool
	lost   time.Time // when it was lost last
	poke   context.CancelFunc
	fresh  bool // wanted has changed since it was looked at
}

func newLine(s *Store) *line {
	return &line{s: s, wanted: make(map[int32]bool), held: make(map[int32]*time.Time), state: make(chan struct{})}
}

// start makes the connection, once.
func (l *line) start() {
	l.once.Do(func() {
		if !l.s.closed.Load() {
			l.s.routines.Go(l.run)
		}
	})
}

// close lets go of everything; the connection ends with the store's life.
func (l *line) close() { l.once.Do(func() {}) }

// take asks for the lock of a worker and returns the start of the server that gave it. Nil: there
// is none to be had now, and the worker lives without evidence until there is.
func (l *line) take(ctx context.Context, n int32) *time.Time {
	l.start()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	l.want(n, true)
	for {
		l.mu.Lock()
		boot, pooled, state := l.held[n], l.pooled, l.state
		l.mu.Unlock()
		if boot != nil || pooled {
			return boot
		}
		select {
		case <-state:
		case <-ctx.Done():
			return nil
		case <-l.s.life.Done():
			return nil
		}
	}
}

// drop lets go of the lock of a worker, and returns when that is done, or the connection is down
// and the server has done it.
func (l *line) drop(ctx context.Context, n int32) {
	l.want(n, false)
	for {
		l.mu.Lock()
		held, up, state := l.held[n] != nil, l.up, l.state
		l.mu.Unlock()
		if !held || !up {
			return
		}
		select {
		case <-state:
		case <-ctx.Done():
			return
		case <-l.s.life.Done():
			return
		}
	}
}

func (l *line) want(n int32, yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if yes {
		l.wanted[n] = true
	} else {
		delete(l.wanted, n)
	}
	l.fresh = true
	if l.poke != nil {
		l.poke()
	}
}

// listens says whether announcements are heard.
func (l *line) listens() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// lostAgo is how long ago the connection was lost; forever, if it never was.
func (l *line) lostAgo() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.pooled:
		return 0
	case l.lost.IsZero():
		return forever
	case !l.up:
		return 0
	}
	return time.Since(l.lost)
}

const forever = time.Duration(1<<63 - 1)

// errPooled means that a pooler stands between us and the server.
var errPooled = errors.New("connections go through a pooler in transaction mode")

// run keeps the connection up until the store is closed.
func (l *line) run() {
	var failed string
	wait := 50 * time.Millisecond
	for {
		began := time.Now()
		err := l.session(l.s.life)
		l.down(errors.Is(err, errPooled))
		switch {
		case l.s.life.Err() != nil:
			return
		case errors.Is(err, errPooled):
			l.s.log.Warn("the connections go through a pooler in transaction mode: a dead worker's tasks are taken over only when its lease has run out, and new tasks of other processes are found by polling; give an address that leads to the server itself")
			return
		case err.Error() != failed:
			l.s.log.Warn("connection for locks and wake-ups lost; trying again", "error", explain(err))
		}
		failed = err.Error()
		if time.Since(began) > 5*time.Second {
			wait = 50 * time.Millisecond
		}
		select {
		case <-time.After(wait):
		case <-l.s.life.Done():
			return
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// down records that the connection is gone, and the locks with it.
func (l *line) down(pooled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up {
		l.lost = time.Now()
	}
	l.up, l.pooled = false, pooled
	clear(l.held)
	l.changed()
}

// changed tells those who wait; l.mu is held.
func (l *line) changed() {
	close(l.state)
	l.state = make(chan struct{})
}

// session connects and serves until something fails.
func (l *line) session(ctx context.Context) (err error) {
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // what matters has been said
	}()
	l.mu.Lock()
	l.up = true
	l.changed()
	l.mu.Unlock()
	l.s.claimer.early(everything)
	l.s.claimer.found()
	l.s.wake(1, 1, 0) // what was announced meanwhile was not heard
	for {
		missing, err := l.settle(ctx, conn)
		if err != nil {
			return err
		}
		if err := l.listen(ctx, conn, missing); err != nil {
			return err
		}
	}
}

// connect makes a connection that notices a vanished peer and is never ended for idling.
func (l *line) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.s.timeout)
	defer cancel()
	conn, err := l.s.dial(ctx)
	if err != nil {
		return nil, err
	}
	direct, err := isDirect(ctx, conn)
	if err == nil && !direct {
		err = errPooled
	}
	if err == nil {
		_, err = conn.Exec(ctx, `select set_config(name, wanted, false) from (values
			('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_session_timeout', '0'), ('client_connection_check_interval', '5s'),
			('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '10000'),
			('application_name', 'lastcall locks')) as w(name, wanted) join pg_settings using (name)`)
	}
	if err == nil {
		_, err = conn.Exec(ctx, `listen `+pgx.Identifier{l.s.channel()}.Sanitize())
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// listen waits for an announcement, for a change of what is wanted, or for some time; after a long
// one it asks whether the server is still there.
func (l *line) listen(ctx context.Context, conn *pgx.Conn, missing bool) error {
	patience := 30 * time.Second // the kernel notices a vanished server sooner
	if missing {
		patience = 50 * time.Millisecond
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l.mu.Lock()
	if l.fresh {
		cancel()
	}
	l.poke = cancel
	l.mu.Unlock()
	n, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil:
		l.s.heard(n.Payload)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case waiting.Err() == nil:
		return err // the connection's, not the wait's
	case missing || errors.Is(waiting.Err(), context.Canceled):
		return nil
	}
	asking, done := context.WithTimeout(ctx, 5*time.Second)
	defer done()
	return conn.Ping(asking)
}

// channel is the name under which announcements go.
func (s *Store) channel() string { return "lastcall_" + s.schema }

// What is announced: the first letter of a payload; the announcer's nonce follows.
const (
	newsReady = "r" // new tasks without a priority, or of a lower one
	newsEarly = "e" // tasks that may come before others
	newsAsked = "a"
)

// heard takes an announcement. Our own have been acted upon already.
func (s *Store) heard(payload string) {
	news, nonce := payload[:min(1, len(payload))], payload[min(1, len(payload)):]
	switch {
	case nonce == s.nonce:
	case news == newsAsked:
		s.wake(0, 1, 0)
	default:
		rank := int64(everything)
		if news == newsReady {
			rank = plainRank
		} else {
			s.claimer.lookAgain() // they may stand on a sheet
		}
		s.claimer.early(rank)
		s.claimer.found()
		s.wake(1, 0, 0)
	}
}

// tell announces something to other processes.
func (s *Store) tell(news string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.life), 2*time.Second)
	defer cancel()
	if _, err := s.pool.Exec(ctx, `select pg_notify($1, $2)`, s.channel(), news+s.nonce); err != nil {
		s.log.Debug("other processes were not told of new tasks; they find them by polling", "error", fmt.Errorf("pgstore: %w", explain(err)))
	}
}
