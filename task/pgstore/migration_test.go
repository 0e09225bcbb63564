package pgstore

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

func TestSchema_SQLMakesWhatMigrateMakes(t *testing.T) {
	dsn := pgtest.DSN(t)
	before, err := InspectSchema(t.Context(), Config{DSN: dsn, Schema: "made"})
	if err != nil || before.Version != 0 || before.Usable() || before.Latest != len(steps) {
		t.Errorf("an empty database: %+v, %v", before, err)
	}
	if age := time.Since(before.Now); age < -time.Minute || age > time.Minute {
		t.Errorf("the server's clock is %v away", age)
	}
	sql, err := SchemaSQL("made", 0)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, dsn, sql)
	after, err := InspectSchema(t.Context(), Config{DSN: dsn, Schema: "made"})
	if err != nil || after.Version != len(steps) || !after.Usable() {
		t.Errorf("after it: %+v, %v", after, err)
	}
	closed(t, openAt(t, Config{DSN: dsn, Schema: "made"})) // without Migrate
	closed(t, openAt(t, Config{DSN: dsn, Schema: "migrated", Migrate: true}))
	if made, migrated := columnsOf(t, dsn, "made"), columnsOf(t, dsn, "migrated"); made == "" || made != migrated {
		t.Errorf("made:\n%s\nmigrated:\n%s", made, migrated)
	}
}

func TestSchema_SQLDoesNothingToAnotherVersion(t *testing.T) {
	dsn := pgtest.DSN(t)
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	pool := openAt(t, Config{DSN: dsn})
	defer closed(t, pool)
	again, err := SchemaSQL("", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.pool.Exec(t.Context(), again); err == nil {
		t.Error("the tables were made again")
	}
	same, err := SchemaSQL("", len(steps))
	if err != nil {
		t.Fatal(err)
	}
	exec(t, dsn, same)
	exec(t, dsn, `update lastcall.lastcall set value = 99 where key = 'version'`)
	if _, err := pool.pool.Exec(t.Context(), same); err == nil {
		t.Error("another version was taken for this one")
	}
	state, err := InspectSchema(t.Context(), Config{DSN: dsn})
	if err != nil || state.Version != 99 || !state.Usable() { // readable from the version before
		t.Errorf("%+v, %v", state, err)
	}
	exec(t, dsn, `update lastcall.lastcall set value = 99 where key = 'oldest'`)
	if state, err = InspectSchema(t.Context(), Config{DSN: dsn}); err != nil || state.Usable() {
		t.Errorf("a newer program's: %+v, %v", state, err)
	}
}

func TestSchema_ThatCannotBeIsRefused(t *testing.T) {
	if _, err := SchemaSQL("a;b", 0); err == nil || !strings.Contains(err.Error(), "small letters") {
		t.Error(err)
	}
	if _, err := SchemaSQL("", 99); err == nil || !strings.Contains(err.Error(), "is not known") {
		t.Error(err)
	}
	if _, err := InspectSchema(t.Context(), Config{}); err == nil || !strings.Contains(err.Error(), "one of Pool and DSN") {
		t.Error(err)
	}
	if _, err := InspectSchema(t.Context(), Config{DSN: "postgres://u:secret@127.0.0.1:1/d"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// columnsOf describes the tables of a schema.
func columnsOf(t *testing.T, dsn, schema string) string {
	t.Helper()
	s := openAt(t, Config{DSN: dsn, Schema: schema})
	defer closed(t, s)
	var text string
	if err := s.pool.QueryRow(t.Context(), `select string_agg(table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable, E'\n'
		order by table_name, column_name) from information_schema.columns where table_schema = $1`, schema).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// goThrough adds a task, claims it and ends it, as workers do. A claim that meets a locked table
// finds nothing.
func (b *rig) goThrough(id string) {
	b.Helper()
	if added, err := b.store.Add(b.Context(), []task.NewTask{{ID: id, Kind: "k", Queue: "default", Payload: []byte("{}")}}); err != nil || added[0].Busy {
		b.Fatalf("%+v, %v", added, err)
	}
	req := task.ClaimRequest{Worker: "w", Max: 1, Kinds: []task.KindClaim{{Kind: "k", Max: 1}}}
	for by := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		got, err := b.store.Claim(b.Context(), req)
		if err != nil {
			b.Fatal(err)
		}
		if len(got) == 1 {
			b.end(got...)
			return
		}
		if time.Now().After(by) {
			b.Fatal("the task cannot be claimed")
		}
	}
}

// wider are the steps with one more, which changes several tables in one transaction.
func wider() []step {
	return append(slices.Clone(steps), step{oldest: 1, text: `alter table @.tasks add column wider text;
alter table @.ready add column wider text;
alter table @.running add column wider text;
alter table @.ended add column wider text;
`})
}

// reading returns when a transaction has read a table. The transaction stays open, as that of a
// dump does.
func (b *rig) reading(table string) (commit func()) {
	b.Helper()
	tx := b.begin()
	if _, err := tx.Exec(b.Context(), b.store.sql(`select 1 from @.`+table+` limit 1`)); err != nil {
		b.Fatal(err)
	}
	return func() {
		b.Helper()
		if err := tx.Commit(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestMigrate_HoldsUpNoWorkerWhileALongTransactionHoldsALock(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	commit := b.reading("ended")
	var migration sync.WaitGroup
	migration.Go(func() {
		if err := b.store.migrateTo(t.Context(), wider(), time.Hour); err != nil {
			t.Errorf("the migration: %v", err)
		}
	})
	b.untilWaiting(1) // with locks on the tables before that one
	for i := range 20 {
		began := time.Now()
		b.goThrough(testID(i))
		// Without a limit it is that of the transaction.
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("a task took %v during a migration that waits", took)
		}
	}
	if version := b.number(`select value from lastcall.lastcall where key = 'version'`); version != len(steps) {
		t.Errorf("version %d while a table is locked", version)
	}
	commit()
	migration.Wait()
	if version := b.number(`select value from lastcall.lastcall where key = 'version'`); version != len(steps)+1 {
		t.Errorf("version %d after the migration", version)
	}
	b.goThrough(testID(99))
}

func TestMigrate_GivesUpAndSaysWhatToDoWhenATableStaysLocked(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	commit := b.reading("ended")
	defer commit()
	err := b.store.migrateTo(t.Context(), wider(), time.Millisecond)
	if !isLockTimeout(err) || !strings.Contains(err.Error(), "end it and migrate again") {
		t.Errorf("%v", err)
	}
	if n := b.number(`select count(*) from information_schema.columns where table_schema = 'lastcall' and column_name = 'wider'`); n != 0 {
		t.Errorf("%d tables were changed", n)
	}
}
