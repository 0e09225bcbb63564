package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Processes take turns at writing. SQLite has no queue for them: who finds the file locked asks again,
// ever less often, and a process that writes one transaction after the other leaves gaps of
// microseconds. Beside one that was busy others waited for seconds, and gave up after five.
//
// So who waits asks every millisecond, and meanwhile sits on a bench: it holds a shared lock on a
// file. Who has written looks whether somebody sits there, and then leaves a gap that is long enough.
// The bench is an advice and no lock on anything: a process that is stopped while it sits there
// makes the others slower and does not hold them up.
const (
	turnAsked = time.Millisecond
	turnGap   = 3 * time.Millisecond
	// turnPatience is for how long a writer waits before it reports an error.
	turnPatience = 5 * time.Second
)

// begin begins a write transaction as soon as no other process is in one.
func (s *Store) begin() (*sql.Tx, error) {
	tx, err := s.write.BeginTx(context.Background(), nil)
	if !isBusy(err) {
		return tx, err
	}
	defer s.locks.rise()
	tick := time.NewTicker(turnAsked)
	defer tick.Stop()
	for deadline := time.Now().Add(turnPatience); isBusy(err) && time.Now().Before(deadline); {
		s.locks.sit()
		select {
		case <-tick.C:
		case <-s.closed:
			return nil, err
		}
		tx, err = s.write.BeginTx(context.Background(), nil)
	}
	return tx, err
}

// yield leaves a gap for those who wait for their turn.
func (s *Store) yield() {
	if !s.locks.awaited() {
		return
	}
	gap := time.NewTimer(turnGap)
	defer gap.Stop()
	select {
	case <-gap.C:
	case <-s.closed:
	}
}

func isBusy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// sit says that this process waits for its turn. Somebody who looks at that moment makes it fail:
// it is called again.
func (d *lockDir) sit() {
	if d.bench != nil {
		_ = lock(d.bench, false) // as said
	}
}

// rise says that it waits no longer.
func (d *lockDir) rise() {
	if d.bench != nil {
		_ = unlock(d.bench) // closing the file does it too
	}
}

// awaited says whether another process waits for its turn.
func (d *lockDir) awaited() bool {
	if d.bench == nil {
		return false
	}
	if err := lock(d.bench, true); err != nil {
		return errors.Is(err, errLocked)
	}
	d.rise()
	return false
}
