package sqlitestore

import (
	"context"
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"modernc.org/sqlite"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// wrap adds the store's name to an error. Errors that the contract of task.Store names are returned
// as they are.
func (s *Store) wrap(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.closed:
		return task.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if storekit.IsContractError(err) {
		return err
	}
	return fmt.Errorf("sqlitestore: %s: %w", s.path, s.explain(err))
}

// resultCode returns SQLite's primary result code of an error, 0 if it has none.
func resultCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// isBusy reports whether another process is writing.
func isBusy(err error) bool { return resultCode(err) == sqlite3.SQLITE_BUSY }

// isOfRow reports whether an error was caused by one row, so that other rows can be written without
// it.
func isOfRow(err error) bool {
	switch resultCode(err) {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG:
		return true
	}
	return false
}

// blocker is a process that prevents others from writing.
type blocker struct {
	pid   int
	reads bool // it holds a read lock there, which SQLite itself never does
}

// explain adds to an error the process that prevents others from writing, if that is the cause.
func (s *Store) explain(err error) error {
	if !isBusy(err) {
		return explain(err)
	}
	shm := s.path + "-shm"
	b, found := blockerOf(shm)
	switch {
	case found && b.reads && b.pid > 0:
		return fmt.Errorf("%w: process %d holds a lock for reading on %s, with which nobody can write: end it (kill %d), and let nobody else read the file (chmod 600)", err, b.pid, shm, b.pid)
	case found && b.reads:
		return fmt.Errorf("%w: a process holds a lock for reading on %s, with which nobody can write: find it (fuser -v %s) and end it, and let nobody else read the file (chmod 600)", err, shm, shm)
	case found && b.pid > 0:
		return fmt.Errorf("%w: process %d has been writing for five seconds: is it stopped? continue it (kill -CONT %d) or kill it", err, b.pid, b.pid)
	}
	return explain(err)
}

// damaged says what to do about a damaged file.
const damaged = "the file is damaged: stop all servers on it and restore it from a backup, or save what can be read with sqlite3 FILE .recover; and check the disk"

// writable says what must be writable for SQLite.
const writable = "the file, its -wal and -shm, the directory -workers with what is in it, and the directory that all of them are in must be writable for this user"

// explain adds advice to the most common errors of SQLite.
func explain(err error) error {
	var hint string
	switch resultCode(err) {
	case sqlite3.SQLITE_NOTADB:
		hint = "restore the file from a backup, or name another one"
	case sqlite3.SQLITE_CORRUPT:
		hint = damaged
	case sqlite3.SQLITE_IOERR:
		// SQLite also reports this when there is no room for the file -shm, which it creates when it
		// opens the database.
		hint = "is the disk full (df), or mounted read-only? Make room on it; what was accepted is safe. Otherwise it is failing: look at the kernel's log (dmesg)"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		hint = "another process has been writing for five seconds, or holds a lock for reading: is one of them stopped?"
	case sqlite3.SQLITE_FULL:
		return storekit.Full(fmt.Errorf("%w: make room on the disk; what was accepted is safe", err))
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		hint = writable
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, hint)
}
