//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// Some distributions package pg_basebackup separately from the server.
func hasStandby() error { return pgtest.Missing("pg_basebackup") }

func hasDump() error { return pgtest.Missing("pg_dump", "pg_restore") }

// follow starts a standby, and returns when it has received everything that the server had by then.
func (c *Cluster) follow(ctx context.Context) (*pgtest.Server, error) {
	f, err := c.replication.Front("standby")
	if err != nil {
		return nil, err
	}
	c.replication.Lead(c.server().Socket())
	setup, err := c.setup()
	if err != nil {
		return nil, err
	}
	standby, err := c.server().Follow(f.Host(), f.Port(), setup)
	if err != nil {
		return nil, err
	}
	err = c.with(ctx, func(admin *pgx.Conn) error {
		var now string
		if err := admin.QueryRow(ctx, `select pg_current_wal_flush_lsn()::text`).Scan(&now); err != nil {
			return err
		}
		return until(ctx, admin, `select exists (select from pg_stat_replication where flush_lsn >= '`+now+`')`)
	})
	if err != nil {
		return nil, errors.Join(err, c.remove(standby))
	}
	return standby, nil
}

// failover crashes the server and promotes a standby in its place.
func (c *Cluster) failover(ctx context.Context, synchronous bool) (ending, error) {
	standby, err := c.follow(ctx)
	if err != nil {
		return nil, err
	}
	open := func() int { return 0 }
	if synchronous {
		err = c.synchronous(ctx)
	} else {
		open = c.replication.BlackHole(true, true)
	}
	if err != nil {
		return nil, errors.Join(err, c.set(ctx, map[string]string{"synchronous_standby_names": ""}), c.remove(standby))
	}
	return func(ctx context.Context) (string, error) {
		defer open()
		var detail string
		if !synchronous {
			// A server that is in use by other faults cannot report it.
			if lost, err := c.number(ctx, `select coalesce(max(pg_current_wal_lsn() - flush_lsn), 0)::bigint from pg_stat_replication`); err == nil {
				detail = fmt.Sprintf("%d bytes of the log were not sent", lost)
			}
		}
		if err := stop(c.server(), syscall.SIGQUIT); err != nil {
			return detail, err
		}
		c.replication.Lead("")
		c.replication.Cut()
		if err := standby.Promote(); err != nil {
			return detail, err
		}
		return detail, c.move(ctx, standby)
	}, nil
}

// synchronous makes each commit wait for the standby.
func (c *Cluster) synchronous(ctx context.Context) error {
	if err := c.set(ctx, map[string]string{"synchronous_standby_names": "standby"}); err != nil {
		return err
	}
	return c.until(ctx, `select exists (select from pg_stat_replication where sync_state = 'sync')`)
}

// standbyOnly leads all connections to a standby, which accepts no writes.
func (c *Cluster) standbyOnly(ctx context.Context) (ending, error) {
	standby, err := c.follow(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.lead(ctx, standby); err != nil {
		return nil, errors.Join(err, c.lead(ctx, c.server()), c.remove(standby))
	}
	return func(ctx context.Context) (string, error) {
		return "", errors.Join(c.lead(ctx, c.server()), c.remove(standby))
	}, nil
}

// dumpAndRestore replaces the server by a new one that is restored from a dump of the former.
func (c *Cluster) dumpAndRestore(ctx context.Context) (_ ending, err error) {
	c.opts.Entrance.Lead("")
	c.opts.Entrance.Cut()
	defer func() {
		if err != nil {
			err = errors.Join(err, c.insist(ctx, `alter role `+Role+` login`), c.lead(ctx, c.server()))
		}
	}()
	if err := c.do(ctx, `alter role `+Role+` nologin`); err != nil {
		return nil, err
	}
	if err := c.until(ctx, `select count(pg_terminate_backend(pid)) = 0 from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`); err != nil {
		return nil, err
	}
	from := c.server()
	to, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	dump := from.Host() + "/dump"
	err = from.Run("pg_dump", "--format=custom", "--file", dump, "--host", from.Host(), "--username", "lastcall", Database)
	if err == nil {
		err = from.Run("pg_restore", "--exit-on-error", "--host", to.Host(), "--username", "lastcall", "--dbname", Database, dump)
	}
	if err != nil {
		return nil, errors.Join(err, c.remove(to))
	}
	return over, c.move(ctx, to)
}

// Dump writes the whole database into a file, as SQL statements.
func (c *Cluster) Dump(path string) error {
	s := c.server()
	dump := filepath.Join(s.Host(), "dump.sql") // the server's user may write there
	if err := s.Run("pg_dump", "--file", dump, "--host", s.Host(), "--username", "lastcall", Database); err != nil {
		return err
	}
	text, err := os.ReadFile(dump)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path, text, 0o600), os.Remove(dump))
}
