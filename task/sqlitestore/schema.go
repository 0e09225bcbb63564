package sqlitestore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// A step brings the schema from the version before it to its own. A step adds, and a step of a
// later release removes, so that two versions of the program can run side by side during a deploy.
// oldest is the oldest schema version whose programs still work on the result.
type step struct {
	oldest int
	file   string
}

// steps are the history of the schema; the n-th (from 1) creates version n.
var steps = []step{{oldest: 1, file: "schema/001_initial.sql"}}

// rowQueryer is a database or a transaction.
type rowQueryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// migrate brings the schema up to date, in one transaction. It reads the version before that, so
// that a program that starts while others are busy does not have to wait for its turn to write.
func migrate(ctx context.Context, db *sql.DB) (err error) {
	ours, version, oldest, err := schemaVersion(ctx, db)
	if err != nil {
		return err
	}
	if known := len(steps); ours && version >= known && oldest <= known {
		return nil
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		if undo := tx.Rollback(); !errors.Is(undo, sql.ErrTxDone) {
			err = errors.Join(err, undo)
		}
	}()
	if ours, version, oldest, err = schemaVersion(ctx, tx); err != nil {
		return err
	}
	if !ours {
		if _, err := tx.ExecContext(ctx, `create table lastcall (key text not null primary key, value integer not null) strict, without rowid`); err != nil {
			return err
		}
	}
	known := len(steps)
	if oldest > known {
		return fmt.Errorf("a newer lastcall has changed this database (schema %d, readable from %d; this program knows %d): use the newer program", version, oldest, known)
	}
	for _, step := range steps[min(version, known):] {
		text, err := schemaFiles.ReadFile(step.file)
		if err == nil {
			_, err = tx.ExecContext(ctx, string(text))
		}
		if err != nil {
			return fmt.Errorf("schema: %w", err)
		}
	}
	if version < known {
		const set = `insert into lastcall (key, value) values ('version', ?), ('oldest', ?)
			on conflict (key) do update set value = excluded.value`
		if _, err := tx.ExecContext(ctx, set, known, steps[known-1].oldest); err != nil {
			return fmt.Errorf("schema: %w", err)
		}
	}
	return tx.Commit()
}

// schemaVersion returns the version of the schema, and the oldest version that it is compatible
// with: 0, 0 for an empty database. ours reports whether the database has Lastcall's tables.
func schemaVersion(ctx context.Context, q rowQueryer) (ours bool, version, oldest int, err error) {
	if ours, err = hasTables(ctx, q); !ours || err != nil {
		return false, 0, 0, err
	}
	const get = `select coalesce(max(case key when 'version' then value end), 0),
		coalesce(max(case key when 'oldest' then value end), 0) from lastcall`
	err = q.QueryRowContext(ctx, get).Scan(&version, &oldest)
	return true, version, oldest, err
}

// hasTables reports whether a database has Lastcall's tables, and returns an error if it has only
// others.
func hasTables(ctx context.Context, q rowQueryer) (bool, error) {
	var tables, ours int
	const count = `select count(*), coalesce(sum(name = 'lastcall'), 0) from sqlite_master where type = 'table'`
	if err := q.QueryRowContext(ctx, count).Scan(&tables, &ours); err != nil {
		return false, err
	}
	if tables > 0 && ours == 0 {
		return false, errForeign
	}
	return ours > 0, nil
}
