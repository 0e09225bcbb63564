package pgstore

import (
	"context"
	"embed"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// A step brings the schema from the version before it to its own. A step adds, and a step of a
// later release removes, so that two versions of the program can run side by side during a deploy.
// oldest is the oldest schema version whose programs still work on the result.
type step struct {
	oldest int
	text   string // statements, which are separated by empty lines or ends of lines
}

// steps are the history of the schema; the n-th (from 1) creates version n.
var steps = []step{{oldest: 1, text: schemaText("schema/001_initial.sql")}}

func schemaText(file string) string {
	b, err := schemaFiles.ReadFile(file)
	if err != nil {
		panic(fmt.Sprintf("pgstore: the embedded schema cannot be read: %v", err))
	}
	return string(b)
}

const (
	// ddlPatience is how long a statement of a migration waits for a lock. Meanwhile all transactions
	// that want the table queue behind it, and those that want a table that the migration has already
	// locked wait too. It is also shorter than the server's deadlock_timeout.
	ddlPatience = 250 * time.Millisecond
	// ddlPause is the pause between two attempts, in which the transactions that waited go on.
	ddlPause = time.Second
	// migratePatience is how long a migration whose tables are locked is retried.
	migratePatience = time.Minute
)

// prepareSchema checks the schema's version, and brings it up to date if migrate is set.
func (s *Store) prepareSchema(ctx context.Context, migrate bool) error {
	version, oldest, err := s.schemaVersion(ctx, s.pool)
	if err != nil {
		return err
	}
	known := len(steps)
	switch {
	case oldest > known:
		return fmt.Errorf("a newer lastcall has changed the schema %s (version %d, readable from %d; this program knows %d): use the newer program", s.schema, version, oldest, known)
	case version >= known:
		return nil
	case !migrate && version == 0:
		return fmt.Errorf("the schema %s has no tables of lastcall: make them with lastcall migrate up or serve --migrate (in Go, Config.Migrate), with a role that may create a schema", s.schema)
	case !migrate:
		return fmt.Errorf("the schema %s has version %d and this program needs %d: bring it up to date with lastcall migrate up or serve --migrate (in Go, Config.Migrate)", s.schema, version, known)
	}
	return s.migrateTo(ctx, steps, migratePatience)
}

// migrateTo migrates, and retries when another transaction holds a lock: a migration that waited
// for that lock would hold up all workers.
func (s *Store) migrateTo(ctx context.Context, steps []step, patience time.Duration) error {
	for began, told := time.Now(), false; ; told = true {
		err := retry(ctx, isMadeByAnother, func(error) {}, func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.migrate(ctx, tx, steps) })
		})
		if !isLockTimeout(err) && !isDeadlock(err) {
			return err
		}
		if time.Since(began) >= patience {
			return fmt.Errorf("nothing was migrated: for %v another transaction has held a lock on a table of the schema %s: find it by its xact_start in pg_stat_activity, end it and migrate again: %w", patience, s.schema, err)
		}
		if !told {
			s.log.Warn("the migration waits: another transaction holds a lock on one of its tables; it is tried once a second", "schema", s.schema, "for", patience)
		}
		select {
		case <-time.After(ddlPause):
		case <-ctx.Done():
			return err
		}
	}
}

// lockVersion has migrations of one schema wait for each other, however long that takes. It
// conflicts with no lock that workers take. Only a role with rights on the table can hold it up.
const lockVersion = `lock table @.lastcall in share row exclusive mode`

// migrate runs the missing steps, in one program at a time. While there is no table to lock yet,
// the server makes a second program that creates the same schema or table wait, and then fail: see
// isMadeByAnother.
func (s *Store) migrate(ctx context.Context, tx pgx.Tx, steps []step) error {
	if _, err := tx.Conn().PgConn().Exec(ctx, `set local search_path = `+ownPath+`; set local lock_timeout = 0`).ReadAll(); err != nil {
		return err
	}
	// "create schema if not exists" needs the right to create even where nothing is missing.
	var exists bool
	if err := tx.QueryRow(ctx, `select exists (select 1 from pg_catalog.pg_namespace where nspname = $1)`, s.schema).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		if _, err := tx.Exec(ctx, `create schema `+s.ident); err != nil {
			return err
		}
	}
	version, _, err := s.schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	first := lockVersion
	if version == 0 {
		first = `create table @.lastcall (key text not null primary key, value integer not null)`
	}
	if _, err := tx.Exec(ctx, s.sql(first)); err != nil {
		return err
	}
	version, oldest, err := s.schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	known := len(steps)
	if version >= known || oldest > known {
		return nil // another process was quicker
	}
	if _, err := tx.Exec(ctx, `select pg_catalog.set_config('lock_timeout', $1, true)`, strconv.FormatInt(ddlPatience.Milliseconds(), 10)); err != nil {
		return err
	}
	for _, step := range steps[version:] {
		// Exec without parameters sends all statements of the text at once.
		if _, err := tx.Conn().PgConn().Exec(ctx, s.sql(step.text)).ReadAll(); err != nil {
			return fmt.Errorf("schema %s: %w", s.schema, err)
		}
	}
	_, err = tx.Exec(ctx, s.sql(`insert into @.lastcall (key, value) values ('version', $1), ('oldest', $2)
		on conflict (key) do update set value = excluded.value`), known, steps[known-1].oldest)
	return err
}

// queryer is a pool or a transaction.
type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// schemaVersion returns the version of the schema, and the oldest version that it is compatible
// with: 0, 0 if there is no schema.
func (s *Store) schemaVersion(ctx context.Context, q queryer) (version, oldest int, err error) {
	var ours bool
	const find = `select exists (select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = 'lastcall')`
	if err := q.QueryRow(ctx, find, s.schema).Scan(&ours); err != nil || !ours {
		return 0, 0, err
	}
	err = q.QueryRow(ctx, s.sql(`select coalesce(pg_catalog.max(value) filter (where key = 'version'), 0),
		coalesce(pg_catalog.max(value) filter (where key = 'oldest'), 0) from @.lastcall`)).Scan(&version, &oldest)
	return version, oldest, err
}
