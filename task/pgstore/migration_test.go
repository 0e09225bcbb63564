package pgstore

import (
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
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
