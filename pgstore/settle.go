package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// settle takes the locks that are wanted and lets go of the others. A lock that a neighbour is just
// trying is missing, and is tried again soon.
func (l *line) settle(ctx context.Context, conn *pgx.Conn) (missing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	take, drop := l.difference()
	for _, n := range take {
		var boot *time.Time
		// The row is told too: after a loss it stands there with the start of an earlier server.
		err := conn.QueryRow(ctx, l.s.sql(`select case when pg_try_advisory_lock('@.'::regnamespace::oid::integer, $1) then pg_postmaster_start_time() end`), n).Scan(&boot)
		if err == nil && boot != nil {
			_, err = conn.Exec(ctx, l.s.sql(`update @.workers set boot = $2 where n = $1 and boot is distinct from $2 and not dead`), n, boot)
		}
		if err != nil {
			return false, err
		}
		missing = missing || boot == nil
		l.set(n, boot)
	}
	for _, n := range drop {
		if _, err := conn.Exec(ctx, l.s.sql(`select pg_advisory_unlock('@.'::regnamespace::oid::integer, $1)`), n); err != nil {
			return false, err
		}
		l.set(n, nil)
	}
	return missing, nil
}

func (l *line) difference() (take, drop []int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = false
	for n := range l.wanted {
		if l.held[n] == nil {
			take = append(take, n)
		}
	}
	for n := range l.held {
		if !l.wanted[n] {
			drop = append(drop, n)
		}
	}
	return take, drop
}

func (l *line) set(n int32, boot *time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if boot == nil {
		delete(l.held, n)
	} else {
		l.held[n] = boot
	}
	l.changed()
}
