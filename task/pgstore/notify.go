package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// announcement is what other processes are notified of: the first letter of a payload. The
// announcer's nonce follows it.
type announcement string

const (
	announceEarly announcement = "e" // tasks that may come before others
	announceReady announcement = "r" // new tasks without a priority, or of a lower one
	announceAsked announcement = "a" // there is a command to a run
	announceStop  announcement = "s" // a worker stops
)

// announcer notifies other processes that there may be something to claim, that there is a command
// to a run, or that a worker stops. It sends one notification for many changes, in a transaction of
// its own: a transaction with a notification serialises the commits of the whole database.
type announcer struct {
	nonce string // distinguishes the announcements of this process from those of others
	send  func(ctx context.Context, payload string) error
	log   *slog.Logger

	mu      sync.Mutex
	pending map[announcement]bool
	some    chan struct{} // has room for one: something is pending
}

func newAnnouncer(log *slog.Logger, send func(context.Context, string) error) *announcer {
	return &announcer{nonce: strconv.FormatUint(rand.Uint64(), 36), send: send, log: log,
		pending: make(map[announcement]bool), some: make(chan struct{}, 1)}
}

// announce has a notification sent soon: one for all calls that come meanwhile.
func (a *announcer) announce(what announcement) {
	a.mu.Lock()
	a.pending[what] = true
	a.mu.Unlock()
	select {
	case a.some <- struct{}{}:
	default:
	}
}

// run sends what is pending until life ends, and then once more: a process may enqueue a task and
// end at once.
func (a *announcer) run(life context.Context) {
	for {
		select {
		case <-a.some:
			a.flush(life, announceEarly, announceReady, announceAsked, announceStop)
		case <-life.Done():
			a.flush(life, announceEarly, announceReady)
			return
		}
	}
}

// flush sends what is pending of some kinds.
func (a *announcer) flush(life context.Context, kinds ...announcement) {
	for _, what := range kinds {
		a.mu.Lock()
		pending := a.pending[what]
		delete(a.pending, what)
		a.mu.Unlock()
		if !pending {
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(life), 2*time.Second)
		err := a.send(ctx, string(what)+a.nonce)
		cancel()
		if err != nil {
			a.log.Debug("other processes were not notified of a change; they find it by polling", "error", explain(err))
		}
	}
}

// parse returns what a payload announces, and whether it comes from another process.
func (a *announcer) parse(payload string) (what announcement, foreign bool) {
	n := min(1, len(payload))
	return announcement(payload[:n]), payload[n:] != a.nonce
}

// readChannel reads the name of the channel of announcements.
func (s *Store) readChannel(ctx context.Context) error {
	err := s.pool.QueryRow(ctx, s.sql(`select 'lastcall_' || name::text from @.channel`)).Scan(&s.channel)
	if noRows(err) {
		return fmt.Errorf("the table %[1]s.channel is empty: insert into %[1]s.channel default values", s.schema)
	}
	return err
}

// notify sends an announcement.
func (s *Store) notify(ctx context.Context, payload string) error {
	_, err := s.pool.Exec(ctx, `select pg_catalog.pg_notify($1::text, $2::text)`, s.channel, payload)
	return err
}

// heard acts on an announcement. Those of this process have already been acted on.
func (s *Store) heard(payload string) {
	switch what, foreign := s.announcer.parse(payload); {
	case !foreign:
	case what == announceAsked:
		s.signals.Wake(0, 1, 0)
	case what == announceStop:
		s.signals.Wake(0, 0, 1)
	case what == announceReady:
		s.mayClaim(plainPriority)
	default:
		s.mayClaim(everything)
	}
}

// claimable notifies this and other processes that there may be something to claim, with this
// sort_priority or a greater one.
func (s *Store) claimable(sortPriority int64) {
	s.mayClaim(sortPriority)
	what := announceReady
	if sortPriority < plainPriority {
		what = announceEarly
	}
	s.announcer.announce(what)
}

// mayClaim has this process's workers claim.
func (s *Store) mayClaim(sortPriority int64) {
	s.busy.Store(true)
	s.scan.arrived(sortPriority)
	s.idle.wake()
	s.signals.Wake(1, 0, 0)
}

// asked notifies this and other processes that there is a command to a run.
func (s *Store) asked() {
	s.signals.Wake(0, 1, 0)
	s.announcer.announce(announceAsked)
}

// stopping notifies this and other processes that a worker stops.
func (s *Store) stopping() {
	s.signals.Wake(0, 0, 1)
	s.announcer.announce(announceStop)
}

// connected is called when announcements may have been missed.
func (s *Store) connected() {
	s.scan.arrived(everything)
	s.idle.wake()
	s.signals.Wake(1, 1, 1)
}
