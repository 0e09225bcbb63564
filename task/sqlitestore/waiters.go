package sqlitestore

import (
	"errors"
	"time"
)

// Processes take turns at writing. SQLite has no queue for them: a process that finds the file
// locked tries again, less and less often, and a process that writes one transaction after the
// other leaves gaps of microseconds. While one process was busy, others waited for seconds, and
// gave up after five.
//
// So a process that waits tries every millisecond, and meanwhile holds a shared lock on a file, the
// waiters' file. A process that has written checks whether that lock is held, and then leaves a gap
// that is long enough. The lock is only a hint, and protects nothing: a process that is stopped
// while it waits makes the others slower, but does not hold them up.
const (
	retryEvery = time.Millisecond
	writersGap = 3 * time.Millisecond
	// patience is how long a writer waits before it returns an error.
	patience = 5 * time.Second
)

// begin begins a write transaction as soon as no other process is in one.
func (s *Store) begin() error {
	const begin = "begin immediate"
	err := s.writer.exec(begin)
	if !isBusy(err) {
		return err
	}
	defer s.locks.stopWaiting()
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); isBusy(err) && time.Now().Before(deadline); {
		s.locks.announceWaiting()
		select {
		case <-tick.C:
		case <-s.closed:
			return err
		}
		err = s.writer.exec(begin)
	}
	return err
}

// letOthersWrite leaves a gap for processes that wait for their turn.
func (s *Store) letOthersWrite() {
	if !s.locks.othersWait() {
		return
	}
	gap := time.NewTimer(writersGap)
	defer gap.Stop()
	select {
	case <-gap.C:
	case <-s.closed:
	}
}

// announceWaiting announces that this process waits for its turn. It fails while another process
// checks the file; the caller calls it again.
func (d *lockDir) announceWaiting() {
	if d.waiters != nil {
		_ = lock(d.waiters, false) // see above
	}
}

// stopWaiting withdraws the announcement.
func (d *lockDir) stopWaiting() {
	if d.waiters != nil {
		_ = unlock(d.waiters) // closing the file does it too
	}
}

// othersWait reports whether another process waits for its turn.
func (d *lockDir) othersWait() bool {
	if d.waiters == nil {
		return false
	}
	if err := lock(d.waiters, true); err != nil {
		return errors.Is(err, errLocked)
	}
	d.stopWaiting()
	return false
}
