package pgstore

import (
	"context"
	"embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// A step brings the schema from the version before it to its own. Steps expand first and contract
// one release later, so that two versions of the program can run side by side during a deploy:
// oldest is the oldest schema version whose programs still work on the result.
type step struct {
	oldest int
	file   string
}

// steps are the schema's history; the n-th (from 1) makes version n.
var steps = []step{{oldest: 1, file: "schema/001_initial.sql"}}

// text returns the statements of a step, which are separated by empty lines or ends of lines.
func (s step) text() string {
	b, err := schemaFiles.ReadFile(s.file)
	if err != nil {
		panic(fmt.Sprintf("pgstore: the embedded schema cannot be read: %v", err))
	}
	return string(b)
}

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
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.migrate(ctx, tx) })
}

// migrationLock is the first key of the advisory lock that migrations of a database share.
const migrationLock = 0x6c617374

// migrate makes the missing steps, one program at a time.
func (s *Store) migrate(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1, hashtext($2))`, migrationLock, s.schema); err != nil {
		return err
	}
	// create ... if not exists wants the right to create also where nothing is missing.
	var exists bool
	if err := tx.QueryRow(ctx, `select exists (select 1 from pg_namespace where nspname = $1)`, s.schema).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		if _, err := tx.Exec(ctx, `create schema `+s.ident); err != nil {
			return err
		}
	}
	version, oldest, err := s.schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	known := len(steps)
	if version >= known || oldest > known {
		return nil // another process was quicker
	}
	if version == 0 {
		if _, err := tx.Exec(ctx, s.sql(`create table @.lastcall (key text not null primary key, value integer not null)`)); err != nil {
			return err
		}
	}
	for _, step := range steps[version:] {
		// Without parameters, many statements go to the server at once.
		if _, err := tx.Conn().PgConn().Exec(ctx, s.sql(step.text())).ReadAll(); err != nil {
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

// schemaVersion reads the version of the schema and the oldest one that it is compatible with: 0, 0
// where there is none.
func (s *Store) schemaVersion(ctx context.Context, q queryer) (version, oldest int, err error) {
	var ours bool
	const find = `select exists (select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = 'lastcall')`
	if err := q.QueryRow(ctx, find, s.schema).Scan(&ours); err != nil || !ours {
		return 0, 0, err
	}
	err = q.QueryRow(ctx, s.sql(`select coalesce(max(value) filter (where key = 'version'), 0),
		coalesce(max(value) filter (where key = 'oldest'), 0) from @.lastcall`)).Scan(&version, &oldest)
	return version, oldest, err
}
