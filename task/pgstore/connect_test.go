package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task/storetest"
)

// hostileSettings are settings that a role may have which other programs use too.
var hostileSettings = map[string]string{
	"default_transaction_isolation": "serializable", "default_transaction_read_only": "on", "client_encoding": "WIN1252",
	"search_path": "elsewhere", "statement_timeout": "500ms", "lock_timeout": "1ms", "idle_in_transaction_session_timeout": "1ms",
	"standard_conforming_strings": "off", "DateStyle": "'SQL, DMY'", "TimeZone": "'Asia/Kathmandu'", "plan_cache_mode": "force_custom_plan", "jit": "on",
}

// hostileRole creates a role with such settings, and returns the address with which it connects.
func hostileRole(t *testing.T, dsn string) string {
	t.Helper()
	exec(t, dsn, `create role hostile superuser login`)
	t.Cleanup(func() {
		c, err := pgx.Connect(context.WithoutCancel(t.Context()), dsn)
		if err == nil {
			_, err = c.Exec(context.WithoutCancel(t.Context()), `reassign owned by hostile to current_user; drop owned by hostile; drop role hostile`)
			_ = c.Close(context.WithoutCancel(t.Context())) // the test is over
		}
		if err != nil {
			t.Error(err)
		}
	})
	for name, value := range hostileSettings {
		if name != "search_path" && value[0] != '\'' {
			value = "'" + value + "'"
		}
		exec(t, dsn, `alter role hostile set `+name+` = `+value)
	}
	return pgtest.Keywords(dsn, "user", "hostile")
}

func TestOpen_TheSessionsAreTheStoresOwnWhateverTheRoleSays(t *testing.T) {
	dsn := hostileRole(t, pgtest.DSN(t))
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	check := func(ctx context.Context, c *pgx.Conn) error {
		for name, want := range map[string]string{
			"default_transaction_isolation": "read committed", "transaction_isolation": "read committed", "transaction_read_only": "off", "client_encoding": "UTF8",
			"search_path": ownPath, "row_security": "off", "standard_conforming_strings": "on", "DateStyle": "ISO, MDY", "TimeZone": "UTC",
		} {
			var got string
			if err := c.QueryRow(ctx, `select current_setting($1)`, name).Scan(&got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		return nil
	}
	err := s.pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
		for name, want := range map[string]string{"statement_timeout": "16s", "idle_in_transaction_session_timeout": "16s", "lock_timeout": "0", "plan_cache_mode": "force_generic_plan", "jit": "off"} {
			var got string
			if err := c.QueryRow(t.Context(), `select current_setting($1)`, name).Scan(&got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		return check(t.Context(), c.Conn())
	})
	if err != nil {
		t.Error(err)
	}
	awaitUp(t, s)
	if err := s.session.exec(t.Context(), check); err != nil {
		t.Error(err)
	}
	if err := s.session.spare.exec(t.Context(), check); err != nil {
		t.Error(err)
	}
	s.session.spare.close()
	storetest.Property(t, s, 3)
}

func TestOpen_TheAddressDoesNotChangeTheSessions(t *testing.T) {
	dsn := pgtest.Keywords(pgtest.Keywords(pgtest.DSN(t), "client_encoding", "LATIN1"), "Search_Path", "elsewhere")
	t.Setenv("PGOPTIONS", "-c default_transaction_isolation=serializable -c statement_timeout=500")
	s := openAt(t, Config{DSN: dsn, Migrate: true})
	defer closed(t, s)
	var isolation, encoding, path string
	err := s.pool.QueryRow(t.Context(), `select current_setting('transaction_isolation'), current_setting('client_encoding'), current_setting('search_path')`).Scan(&isolation, &encoding, &path)
	if err != nil || isolation != "read committed" || encoding != "UTF8" || path != ownPath {
		t.Errorf("%s, %s, %s, %v", isolation, encoding, path, err)
	}
}

func TestOpen_RefusesAPoolWhoseSessionsAreOfAnotherKind(t *testing.T) {
	dsn := pgtest.DSN(t)
	closed(t, openAt(t, Config{DSN: dsn, Migrate: true}))
	open := func(name, value string) error {
		cfg, err := pgxpool.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		cfg.ConnConfig.RuntimeParams[name] = value
		pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		s, err := Open(t.Context(), Config{Pool: pool})
		if err == nil {
			closed(t, s)
		}
		return err
	}
	for name, value := range map[string]string{
		"default_transaction_isolation": "repeatable read", "client_encoding": "LATIN1", "standard_conforming_strings": "off", "default_transaction_read_only": "on",
	} {
		err := open(name, value)
		if name == "default_transaction_read_only" {
			if err == nil || !strings.Contains(err.Error(), "takes no writes") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("ConnConfig.RuntimeParams[%q]", name)) || !strings.Contains(err.Error(), "alter role") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := open("application_name", "mine"); err != nil {
		t.Error(err)
	}
}

func TestOpen_RefusesWaysOfSendingParametersThatDoNotKnowTheirTypes(t *testing.T) {
	dsn := pgtest.DSN(t)
	for _, mode := range []string{"exec", "simple_protocol"} {
		_, err := Open(t.Context(), Config{DSN: pgtest.Keywords(dsn, "default_query_exec_mode", mode), Migrate: true})
		if err == nil || !strings.Contains(err.Error(), "default_query_exec_mode="+mode) {
			t.Errorf("%s: %v", mode, err)
		}
		pool, err := pgxpool.New(t.Context(), pgtest.Keywords(dsn, "default_query_exec_mode", mode))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{Pool: pool, Migrate: true}); err == nil || !strings.Contains(err.Error(), "default_query_exec_mode="+mode) {
			t.Errorf("%s, in a pool: %v", mode, err)
		}
		pool.Close()
	}
	for _, mode := range []string{"cache_describe", "describe_exec"} {
		s := openAt(t, Config{DSN: pgtest.Keywords(dsn, "default_query_exec_mode", mode), Migrate: true})
		runOne(t, s)
		closed(t, s)
		exec(t, dsn, `drop schema lastcall cascade`)
	}
}

func TestOpen_RefusesADatabaseThatCannotHoldEveryText(t *testing.T) {
	admin := pgtest.DSN(t)
	for encoding, want := range map[string]string{"EUC_JP": "EUC_JP", "LATIN1": "LATIN1", "SQL_ASCII": "", "UTF8": ""} {
		name := "lastcall_encoding_" + strings.ToLower(encoding)
		exec(t, admin, `create database `+name+` encoding '`+encoding+`' locale 'C' template template0`)
		s, err := Open(t.Context(), Config{DSN: pgtest.Keywords(admin, "dbname", name), Migrate: true})
		if err == nil {
			runOne(t, s)
			closed(t, s)
		}
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), "encoding "+want) {
			t.Errorf("%s: %v", encoding, err)
		}
		exec(t, admin, `drop database `+name+` with (force)`)
	}
}
