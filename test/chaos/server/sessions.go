//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// crowd is a set of connections.
type crowd []*pgx.Conn

// close closes the connections. Their open transactions are rolled back. It is not an error if a
// server has ended them before.
func (all crowd) close(ctx context.Context) {
	for _, conn := range all {
		_ = conn.Close(ctx) // see above
	}
}

// readOnly makes the server's transactions read-only unless their sessions set something else.
func (c *Cluster) readOnly(ctx context.Context) (ending, error) {
	if err := c.set(ctx, map[string]string{"default_transaction_read_only": "on"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) {
		return "", c.set(ctx, map[string]string{"default_transaction_read_only": ""})
	}, nil
}

// outOfConnections takes every free connection.
func (c *Cluster) outOfConnections(ctx context.Context) (ending, error) {
	held, err := c.takeAll(ctx, nil)
	if err != nil {
		held.close(ctx)
		return nil, err
	}
	taking, enough := context.WithCancel(context.Background())
	var taker sync.WaitGroup
	taker.Go(func() {
		for pause(taking, again) {
			held, _ = c.takeAll(taking, held) // a server that is down has none to take
		}
	})
	return func(ctx context.Context) (string, error) {
		enough()
		taker.Wait()
		held.close(ctx)
		return fmt.Sprintf("%d connections were taken", len(held)), nil
	}, nil
}

// takeAll adds connections until the server has none left.
func (c *Cluster) takeAll(ctx context.Context, held crowd) (crowd, error) {
	for {
		conn, err := pgx.Connect(ctx, c.Address())
		var refused *pgconn.PgError
		switch {
		case errors.As(err, &refused) && refused.Code == "53300":
			return held, nil
		case err != nil:
			return held, err
		}
		held = append(held, conn)
	}
}

// tables returns the tables of the schema.
func (c *Cluster) tables(ctx context.Context) (tables []string, err error) {
	err = c.with(ctx, func(admin *pgx.Conn) error {
		rows, err := admin.Query(ctx, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relkind = 'r' order by c.relname`, c.opts.Schema)
		if err == nil {
			tables, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	if err == nil && len(tables) == 0 {
		err = fmt.Errorf("there is no table in the schema %s", c.opts.Schema)
	}
	return tables, err
}

// How often and how long a lock is tried, and the pause in between: everybody queues behind a
// statement that waits for a lock.
const (
	tries     = 8
	lockWait  = "1s"
	lockPause = 500 * time.Millisecond
)

// lockTable runs a statement for one of the tables, a different one each time, in a transaction
// that is rolled back at the end. It locks a single table, since locks on several would deadlock
// with the writers.
func (c *Cluster) lockTable(ctx context.Context, sql string) (ending, error) {
	tables, err := c.tables(ctx)
	if err != nil {
		return nil, err
	}
	table := tables[int(c.locked.Add(1))%len(tables)]
	for range tries {
		var conn *pgx.Conn
		if conn, err = c.connect(ctx); err != nil {
			return nil, err
		}
		held := crowd{conn}
		if err = run(ctx, conn, `begin`, `set local lock_timeout = '`+lockWait+`'`, fmt.Sprintf(sql, table)); err == nil {
			return func(ctx context.Context) (string, error) {
				held.close(ctx)
				return table, nil
			}, nil
		}
		held.close(ctx)
		if !pause(ctx, lockPause) {
			break
		}
	}
	return nil, err
}

// vacuumFull rewrites each table.
func (c *Cluster) vacuumFull(ctx context.Context) (ending, error) {
	tables, err := c.tables(ctx)
	if err != nil {
		return nil, err
	}
	done := 0
	for _, table := range tables {
		if e := c.do(ctx, `vacuum full `+table); e != nil {
			err = errors.Join(err, e)
		} else {
			done++
		}
	}
	if done == 0 {
		return nil, err
	}
	return func(context.Context) (string, error) { return fmt.Sprintf("%d of %d tables", done, len(tables)), nil }, nil
}

// longSnapshot holds a snapshot.
func (c *Cluster) longSnapshot(ctx context.Context) (ending, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	held := crowd{conn}
	if err := run(ctx, conn, `begin isolation level repeatable read`, `select count(*) from pg_class`); err != nil {
		held.close(ctx)
		return nil, err
	}
	return func(ctx context.Context) (string, error) {
		held.close(ctx)
		return "", nil
	}, nil
}

// publication publishes all tables.
func (c *Cluster) publication(ctx context.Context) (ending, error) {
	if err := c.do(ctx, `create publication chaos for all tables`); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) {
		return "", c.insist(ctx, `drop publication if exists chaos`)
	}, nil
}

// injectErrors makes a percentage of the statements that write to a table fail with a code. Each
// code has a schema of its own, with the trigger function that raises it.
func (c *Cluster) injectErrors(ctx context.Context, code string, percent int) (ending, error) {
	tables, err := c.tables(ctx)
	if err != nil {
		return nil, err
	}
	schema := "chaos_" + code
	remove := func(ctx context.Context) (string, error) {
		for _, table := range tables { // one lock at a time
			if err := c.insist(ctx, fmt.Sprintf(`drop trigger if exists %q on %s`, schema, table)); err != nil {
				return "", err
			}
		}
		return "", c.insist(ctx, `drop schema if exists "`+schema+`" cascade`)
	}
	statements := []string{`create schema "` + schema + `"`, fmt.Sprintf(`create function %q.fail() returns trigger language plpgsql as
		$$ begin if random() * 100 < %d then raise exception 'injected' using errcode = '%s'; end if; return null; end $$`, schema, percent, code)}
	for _, table := range tables {
		statements = append(statements, fmt.Sprintf(`create trigger %q before insert or update or delete on %s for each statement execute function %q.fail()`, schema, table, schema))
	}
	if err := c.do(ctx, statements...); err != nil {
		_, also := remove(ctx)
		return nil, errors.Join(err, also)
	}
	return remove, nil
}
