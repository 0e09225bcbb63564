package pgstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// connectTimeout bounds the opening of a connection where the address does not set a limit.
const connectTimeout = 10 * time.Second

// trackedSettings are set for each session of a pool that the store opens, when the session begins.
// A pooler carries these from one session of the server to the next.
var trackedSettings = map[string]string{
	"client_encoding": "UTF8", "standard_conforming_strings": "on", "DateStyle": "ISO, MDY", "TimeZone": "UTC",
}

// ownPath is the search_path of the store's own sessions, and of migrations.
const ownPath = "pg_catalog, pg_temp"

// ownSettings are also set where no other program uses the session, whatever the role, the database
// and the address say:
//
//   - Isolation: the transactions rely on read committed, in which a statement sees what was
//     committed before it.
//   - Names: an unqualified name is the server's own, and a temporary table cannot take the place
//     of a table.
//   - Policies for rows are an error instead of hiding rows.
//   - Time limits: the server ends what a lost client has begun soon after the client has given up.
//   - Plans are those for a few rows found by an index, whatever the statistics say: no statistics
//     are right for tables that are full now and empty in a second. Such a planner takes all other
//     plans for expensive, so it may not start parallel workers for them.
func ownSettings(timeout time.Duration, major int) map[string]string {
	limit := strconv.FormatInt((timeout + time.Second).Milliseconds(), 10)
	set := map[string]string{
		"default_transaction_isolation": "read committed", "default_transaction_read_only": "off", "default_transaction_deferrable": "off",
		"search_path": ownPath, "row_security": "off", "array_nulls": "on",
		"statement_timeout": limit, "idle_in_transaction_session_timeout": limit, "lock_timeout": "0",
		"plan_cache_mode": "force_generic_plan", "jit": "off", "enable_seqscan": "off", "enable_bitmapscan": "off", "max_parallel_workers_per_gather": "0",
	}
	if major >= 14 {
		set["idle_session_timeout"] = "0"
	}
	if major >= 17 {
		set["transaction_timeout"] = "0"
	}
	return set
}

// newPool opens the pool of an address.
func newPool(ctx context.Context, dsn string, timeout time.Duration) (*pgxpool.Pool, pooling, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, unpooled, badAddress(err)
	}
	conn := cfg.ConnConfig
	if err := checkMode(conn.DefaultQueryExecMode); err != nil {
		return nil, unpooled, err
	}
	if asksReadOnly(conn.RuntimeParams) {
		return nil, unpooled, fmt.Errorf("the address asks for sessions that are read-only (default_transaction_read_only): %w", errReadOnly)
	}
	conn.DialFunc = dialer().DialContext
	conn.ValidateConnect = takesWrites
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTimeout
	}
	// An idle worker uses a connection every second or so: a ping each time would double the number
	// of its requests.
	cfg.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > 10*time.Second }
	setParams(conn.RuntimeParams, trackedSettings)
	by, major, err := probe(ctx, conn, timeout)
	if err != nil {
		return nil, unpooled, err
	}
	own := ownSettings(timeout, major)
	switch by {
	case unpooled:
		setParams(conn.RuntimeParams, own)
	case pooledBySession: // such a pooler refuses start parameters that it does not know
		cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { return setAll(ctx, c, own) }
	case pooledByTransaction:
		// Each statement may go to another session. That session does not have the statements that
		// were prepared in the one before, and settings made in it would stay for other clients.
		if conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
			conn.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	return pool, by, err
}

// setParams sets start parameters of a session. Their names are the same in upper and lower case.
func setParams(params, to map[string]string) {
	maps.DeleteFunc(params, func(name, _ string) bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(to)), func(ours string) bool { return strings.EqualFold(name, ours) })
	})
	maps.Copy(params, to)
}

func asksReadOnly(params map[string]string) bool {
	for name, value := range params {
		if strings.EqualFold(name, "default_transaction_read_only") {
			return !slices.Contains([]string{"off", "false", "no", "0"}, strings.ToLower(value))
		}
	}
	return false
}

// setAll sets those of some settings that this version of the server has.
func setAll(ctx context.Context, c *pgx.Conn, settings map[string]string) error {
	names := slices.Sorted(maps.Keys(settings))
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = settings[name]
	}
	_, err := c.Exec(ctx, `select pg_catalog.set_config(s.name, w.value, false) from unnest($1::text[], $2::text[]) as w(name, value)
		join pg_catalog.pg_settings s on pg_catalog.lower(s.name) = pg_catalog.lower(w.name)`, pgx.QueryExecModeExec, names, values)
	return err
}

// takesWrites checks each new session of a pool that the store opens, so that of several hosts the
// one is chosen that is not a standby.
func takesWrites(ctx context.Context, c *pgconn.PgConn) error {
	switch c.ParameterStatus("in_hot_standby") { // since PostgreSQL 14
	case "off":
		return nil
	case "on":
		return errReadOnly
	}
	results, err := c.Exec(ctx, `select pg_catalog.pg_is_in_recovery()`).ReadAll()
	if err != nil {
		return err
	}
	if string(results[0].Rows[0][0]) == "t" {
		return errReadOnly
	}
	return nil
}

// checkMode refuses the ways of sending parameters that do not know the types of the parameters.
func checkMode(mode pgx.QueryExecMode) error {
	switch mode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return fmt.Errorf("default_query_exec_mode=%s cannot send every parameter: leave it out, or give cache_describe where a pooler forgets prepared statements "+
			"(in Go, ConnConfig.DefaultQueryExecMode)", strings.ReplaceAll(mode.String(), " ", "_"))
	}
	return nil
}

// badAddress says how an address must be written, and quotes nothing of it. The driver's error
// would quote the address, and the password too where that has unusual characters.
func badAddress(err error) error {
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return fmt.Errorf("the address, or the environment, names a file that cannot be read: %w: mend sslrootcert, sslcert, sslkey or servicefile", file)
	}
	return errors.New("the address is not understood: write it as postgres://USER@HOST:PORT/DATABASE, odd characters as %XX, or in keywords as host=HOST dbname=DATABASE; " +
		"sslmode is one of disable, allow, prefer, require, verify-ca, verify-full, and the files of sslrootcert, sslcert and sslkey are PEM; what it leaves out comes from PGHOST, PGPASSWORD and so on")
}

// dialLike returns a function that opens connections with the configuration of a pool, outside the
// pool.
func dialLike(pool *pgxpool.Pool) func(context.Context) (*pgx.Conn, error) {
	return func(ctx context.Context) (*pgx.Conn, error) {
		cfg := pool.Config()
		if cfg.BeforeConnect != nil {
			if err := cfg.BeforeConnect(ctx, cfg.ConnConfig); err != nil {
				return nil, err
			}
		}
		c, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
		if err != nil || cfg.AfterConnect == nil {
			return c, err
		}
		if err := cfg.AfterConnect(ctx, c); err != nil {
			return nil, errors.Join(err, c.Close(ctx))
		}
		return c, nil
	}
}

// dialer returns a dialer whose connections notice within about ten seconds that the other machine
// has vanished.
func dialer() *net.Dialer {
	return &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
}

// probe connects once, and returns the kind of pooler between this process and the server, and the
// server's major version.
func probe(ctx context.Context, cfg *pgx.ConnConfig, timeout time.Duration) (by pooling, major int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return unpooled, 0, err
	}
	number, _, _ := strings.Cut(c.PgConn().ParameterStatus("server_version"), ".")
	// A development version: 0, and the settings of newer versions are left out.
	major, _ = strconv.Atoi(number)
	by, err = poolingOf(ctx, c, func(ctx context.Context) (*pgx.Conn, error) { return pgx.ConnectConfig(ctx, cfg) })
	return by, major, errors.Join(err, c.Close(ctx))
}

// wrongSetting is a setting that a session has, and the value that it must have instead.
type wrongSetting struct{ name, is, want string }

// checkPool checks the sessions of a pool that the caller passed, or whose sessions the store
// cannot set up.
func checkPool(ctx context.Context, pool *pgxpool.Pool, given bool) error {
	cfg := pool.Config().ConnConfig
	if err := checkMode(cfg.DefaultQueryExecMode); err != nil {
		return err
	}
	if cfg.ValidateConnect == nil && slices.ContainsFunc(cfg.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != cfg.Host || f.Port != cfg.Port }) {
		return errors.New("the pool leads to several hosts and takes the first that answers, which may be a standby: add target_session_attrs=read-write to its address, " +
			"or set ConnConfig.ValidateConnect")
	}
	if err := checkPath(ctx, pool); err != nil {
		return err
	}
	rows, err := pool.Query(ctx, `select w.name, s.setting, w.value from pg_catalog.pg_settings s join (values ('client_encoding', 'UTF8'),
		('default_transaction_isolation', 'read committed'), ('default_transaction_read_only', 'off'), ('standard_conforming_strings', 'on'),
		('array_nulls', 'on')) as w(name, value) on s.name = w.name and s.setting <> w.value order by w.name`)
	if err != nil {
		return err
	}
	wrong, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w wrongSetting, err error) {
		return w, row.Scan(&w.name, &w.is, &w.want)
	})
	if err != nil || len(wrong) == 0 {
		return err
	}
	w := wrong[0]
	mend := fmt.Sprintf("change the role's default with: alter role ROLE set %s = '%s'", w.name, w.want)
	if given {
		mend = fmt.Sprintf("set ConnConfig.RuntimeParams[%q] of the pool, let its AfterConnect do it, or %s", w.name, mend)
	}
	return fmt.Errorf("the sessions have %s = %s and must have %s: %s", w.name, w.is, w.want, mend)
}

// checkPath refuses sessions whose search_path has another schema before pg_catalog. The statements
// name the server's functions with their schema; operators must be found in pg_catalog first.
func checkPath(ctx context.Context, pool *pgxpool.Pool) error {
	var path []string
	if err := pool.QueryRow(ctx, `select pg_catalog.current_schemas(true)::text[]`).Scan(&path); err != nil {
		return err
	}
	for _, schema := range path {
		switch {
		case schema == "pg_catalog":
			return nil
		case !strings.HasPrefix(schema, "pg_temp_"): // operators are never looked up there
			return fmt.Errorf("the sessions look into the schema %q before pg_catalog, where any role that may create in it can put operators in the place of the server's: "+
				"leave pg_catalog out of search_path, which puts it first, or name it first", schema)
		}
	}
	return errors.New("the sessions do not look into the schema pg_catalog: is the server PostgreSQL?")
}

// checkSchema refuses a schema in which every role may create: a table that another role has
// created there first would be taken for the store's.
func (s *Store) checkSchema(ctx context.Context) error {
	var open bool
	err := s.pool.QueryRow(ctx, `select pg_catalog.has_schema_privilege('public'::name, n.oid, 'create'::text) from pg_catalog.pg_namespace n where n.nspname = $1`, s.schema).Scan(&open)
	if noRows(err) {
		return nil // the store will create it
	}
	if err == nil && open {
		err = fmt.Errorf("everybody may create in the schema %[1]s, and so put tables in the place of the store's: revoke create on schema %[1]s from public, or name a schema of its own", s.schema)
	}
	return err
}

// checkDatabase refuses a database that takes no writes, or cannot hold every text.
func checkDatabase(ctx context.Context, pool *pgxpool.Pool) error {
	var (
		encoding string
		refuses  bool
	)
	err := pool.QueryRow(ctx, `select pg_catalog.current_setting('server_encoding'), pg_catalog.pg_is_in_recovery() or pg_catalog.current_setting('transaction_read_only') = 'on'`).Scan(&encoding, &refuses)
	switch {
	case err != nil:
		return err
	case refuses:
		return errReadOnly
	case encoding != "UTF8" && encoding != "SQL_ASCII":
		return fmt.Errorf("the database has the encoding %s, which cannot hold every text: create one with encoding 'UTF8' and template template0, and name that", encoding)
	}
	return nil
}

// checkPolicies refuses tables whose policies hide rows from the role: hidden rows would be neither
// claimed nor counted.
func (s *Store) checkPolicies(ctx context.Context) error {
	var table string
	err := s.pool.QueryRow(ctx, `select coalesce(pg_catalog.min(c.relname::text), '') from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relkind = 'r' and pg_catalog.row_security_active(c.oid)`, s.schema).Scan(&table)
	if err == nil && table != "" {
		err = fmt.Errorf("row-level security hides rows of %[1]s.%[2]s from this role: alter table %[1]s.%[2]s disable row level security, or alter role ROLE bypassrls", s.schema, table)
	}
	return err
}

// Ping returns nil if the server answers and takes writes, and an error otherwise. It costs one
// round trip. After a failover it also has the connections to the former primary closed.
func (s *Store) Ping(ctx context.Context) error {
	return s.again(ctx, func(ctx context.Context) error {
		var refuses bool
		err := s.pool.QueryRow(ctx, `select pg_catalog.pg_is_in_recovery() or pg_catalog.current_setting('transaction_read_only') = 'on'`).Scan(&refuses)
		if err == nil && refuses {
			err = errReadOnly
		}
		return err
	})
}
