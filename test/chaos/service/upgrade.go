//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// upgrade is the command "upgrade". It changes the schema like the first half of a release, which
// only adds: every table gets a column, and there are a new table and a new index. The database
// then records the next version, and that programs of the first version can still work on it. The
// running programs are not notified.
func upgrade(s settings) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	u := upgradeOfPostgres
	open := func() (*sql.DB, error) { return openTables(s.store, 1) }
	if path, ok := sqlitePath(s.store); ok {
		u = upgradeOfSQLite
		open = func() (*sql.DB, error) { return openSQLite(path) }
	}
	db, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for { // writers may have held a lock for too long
		if err = u.do(ctx, db); err == nil || !wire.Pause(ctx, 200*time.Millisecond) {
			return err
		}
		s.log.Warn("not upgraded yet", "error", err)
	}
}

// upgrading has the statements for a store. {table} is the name of a table, {n} the next version.
type upgrading struct {
	begin   string // the first statement of a transaction
	version string
	tables  string
	each    string   // executed for each table
	once    []string // executed in this order, after that
}

// Each statement is a transaction of its own. A transaction that locked one table after the other
// would deadlock with those of busy workers.
var upgradeOfPostgres = upgrading{
	// Others queue behind a statement that waits for a lock.
	begin:   `set local lock_timeout = '2s'`,
	version: `select value + 1 from lastcall.lastcall where key = 'version'`,
	tables: `select format('lastcall.%I', c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'lastcall' and c.relkind = 'r' and c.relname <> 'lastcall' order by 1`,
	each: `alter table {table} add column if not exists added_{n} text default 'added'`,
	once: []string{
		`create table if not exists lastcall.added_{n} (n integer not null primary key)`,
		`create index if not exists ended_added_{n} on lastcall.ended (added_{n})`,
		`update lastcall.lastcall set value = {n} where key = 'version'`,
	},
}

var upgradeOfSQLite = upgrading{
	begin:   `update lastcall set value = value where key = 'version'`, // the lock for writing
	version: `select value + 1 from lastcall where key = 'version'`,
	tables: `select m.name from sqlite_master m where m.type = 'table' and m.name not like 'sqlite_%' and m.name not like 'chaos_%' and m.name <> 'lastcall'
		and not exists (select 1 from pragma_table_info(m.name) c where c.name = 'added_{n}') order by m.name`,
	each: `alter table {table} add column added_{n} text default 'added'`,
	once: []string{
		`create table if not exists added_{n} (n integer primary key) strict`,
		`create index if not exists ended_added_{n} on ended (added_{n})`,
		`update lastcall set value = {n} where key = 'version'`,
	},
}

// do makes the schema one version newer. It may be called again after an error.
func (u upgrading) do(ctx context.Context, db *sql.DB) error {
	var n int
	if err := db.QueryRowContext(ctx, u.version).Scan(&n); err != nil {
		return err
	}
	of := func(text string) string { return strings.ReplaceAll(text, "{n}", fmt.Sprint(n)) }
	tables, err := names(ctx, db, of(u.tables))
	if err != nil {
		return err
	}
	var texts []string
	for _, table := range tables {
		texts = append(texts, strings.ReplaceAll(u.each, "{table}", table))
	}
	for _, text := range append(texts, u.once...) {
		if err := u.change(ctx, db, of(text)); err != nil {
			return fmt.Errorf("%s: %w", of(text), err)
		}
	}
	return nil
}

// change executes one statement in one transaction.
func (u upgrading) change(ctx context.Context, db *sql.DB, text string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, u.begin); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, text); err != nil {
		return err
	}
	return tx.Commit()
}

// names reads a column of names.
func names(ctx context.Context, db *sql.DB, query string) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		all = append(all, name)
	}
	return all, rows.Err()
}
