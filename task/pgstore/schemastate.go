package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// SchemaState describes the schema in a database, and the version that this program needs.
type SchemaState struct {
	// Schema is the name of the schema.
	Schema string
	// Version is the version in the database, 0 if there is none. MinCompatible is the oldest version
	// whose programs can work on it.
	Version, MinCompatible int
	// Latest is the version that this program creates.
	Latest int
	// Now is the server's clock.
	Now time.Time
}

// Usable reports whether this program can work on the schema as it is.
func (s SchemaState) Usable() bool { return s.Version >= s.Latest && s.MinCompatible <= s.Latest }

// InspectSchema connects to the database and reads the version of its schema. It changes nothing,
// and needs no right except to connect and, where there is a schema, to read it. It ignores
// Migrate.
func InspectSchema(ctx context.Context, cfg Config) (SchemaState, error) {
	state, err := lookAtSchema(ctx, cfg)
	if err != nil {
		return state, fmt.Errorf("pgstore: %w", explain(err))
	}
	return state, nil
}

func lookAtSchema(ctx context.Context, cfg Config) (state SchemaState, err error) {
	s := &Store{schema: cmp.Or(cfg.Schema, "lastcall"), timeout: cmp.Or(cfg.Timeout, 15*time.Second), pool: cfg.Pool}
	switch {
	case !schemaName.MatchString(s.schema):
		return state, badSchema(s.schema)
	case (cfg.Pool == nil) == (cfg.DSN == ""):
		return state, errors.New("one of Pool and DSN must be set")
	}
	s.ident = pgx.Identifier{s.schema}.Sanitize()
	if s.pool == nil {
		pool, _, err := newPool(ctx, cfg.DSN, s.timeout)
		if err != nil {
			return state, err
		}
		defer pool.Close()
		s.pool = pool
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	state = SchemaState{Schema: s.schema, Latest: len(steps)}
	if err := s.pool.QueryRow(ctx, `select pg_catalog.clock_timestamp()`).Scan(&state.Now); err != nil {
		return state, err
	}
	state.Version, state.MinCompatible, err = s.schemaVersion(ctx, s.pool)
	return state, err
}

// SchemaSQL returns the statements that bring the schema from version from, 0 for an empty
// database, to the version of this program. They do in one transaction what Config.Migrate does,
// for users who let another role or another tool do it. On another version than from they fail and
// change nothing. An empty schema means lastcall.
func SchemaSQL(schema string, from int) (string, error) {
	s := &Store{schema: cmp.Or(schema, "lastcall")}
	if !schemaName.MatchString(s.schema) {
		return "", fmt.Errorf("pgstore: %w", badSchema(s.schema))
	}
	if from < 0 || from > len(steps) {
		return "", fmt.Errorf("pgstore: schema version %d is not known: this program knows 0 to %d", from, len(steps))
	}
	s.ident = pgx.Identifier{s.schema}.Sanitize()
	var b strings.Builder
	say := func(text string) { b.WriteString(s.sql(text) + ";\n") }
	say("begin")
	say("set local search_path = " + ownPath)
	if from == 0 {
		say("create schema if not exists " + s.ident)
		say("create table @.lastcall (key text not null primary key, value integer not null)")
	} else {
		say(lockVersion)
		// A division by zero is the one error that plain SQL can raise.
		say(fmt.Sprintf("select 1 / pg_catalog.count(*) as \"the schema must have version %d\" from @.lastcall where key = 'version' and value = %d", from, from))
	}
	for _, step := range steps[from:] {
		b.WriteString(s.sql(step.text))
	}
	if from < len(steps) {
		say(fmt.Sprintf("insert into @.lastcall (key, value) values ('version', %d), ('oldest', %d)\n\ton conflict (key) do update set value = excluded.value",
			len(steps), steps[len(steps)-1].oldest))
	}
	say("commit")
	return b.String(), nil
}

func badSchema(name string) error {
	return fmt.Errorf("schema %.50q: use small letters, digits and _, at most 40, not a digit first", name)
}
