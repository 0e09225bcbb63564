package pgstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// newPool makes the pool of an address.
func newPool(ctx context.Context, dsn string, timeout time.Duration) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, badAddress(err)
	}
	cfg.ConnConfig.DialFunc = dialer().DialContext
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	// An idle worker uses a connection every second or so: asking each time whether it is still there
	// would double what it asks.
	cfg.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > 10*time.Second }
	direct, err := probe(ctx, cfg.ConnConfig, timeout)
	if err != nil {
		return nil, err
	}
	if direct {
		cfg.AfterConnect = steady
	} else if cfg.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		// A pooler may give each statement to another session, which does not know what was
		// prepared in the one before.
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

// badAddress says what is wrong with an address, and nothing of what it is: the driver's error would quote
// it, and where a password has odd characters, the password.
func badAddress(err error) error {
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return fmt.Errorf("the address, or the environment, names a file that cannot be read: %w: mend sslrootcert, sslcert, sslkey or servicefile", file)
	}
	return errors.New("the address is not understood: write it as postgres://USER@HOST:PORT/DATABASE, odd characters as %XX, or in keywords as host=HOST dbname=DATABASE; " +
		"sslmode is one of disable, allow, prefer, require, verify-ca, verify-full, and the files of sslrootcert, sslcert and sslkey are PEM; what it leaves out comes from PGHOST, PGPASSWORD and so on")
}

// dial makes a connection as those of the pool are, which does not belong to it.
func (s *Store) dial(ctx context.Context) (*pgx.Conn, error) {
	pool := s.pool.Config()
	cfg := pool.ConnConfig
	if pool.BeforeConnect != nil {
		if err := pool.BeforeConnect(ctx, cfg); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// dialer notices within about ten seconds that the other machine has vanished.
func dialer() *net.Dialer {
	return &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
}

// steady makes a session's plans those for a few rows found by an index, whatever the statistics
// say: tables that are full now and empty in a second have none that are right. And since all else
// looks dear to such a planner, it may not start more processes for it: a count took 0.1 s so.
func steady(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `set plan_cache_mode = force_generic_plan; set jit = off; set enable_seqscan = off; set max_parallel_workers_per_gather = 0`)
	return err
}

// probe connects once and says whether the sessions are the server's own.
func probe(ctx context.Context, cfg *pgx.ConnConfig, timeout time.Duration) (direct bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, err
	}
	direct, err = isDirect(ctx, c)
	return direct, errors.Join(err, c.Close(ctx))
}

// isDirect says whether a connection is a session of the server: a pooler makes up the number by
// which a connection is cancelled, and the server's is the process that answers.
func isDirect(ctx context.Context, c *pgx.Conn) (bool, error) {
	results, err := c.PgConn().Exec(ctx, `select pg_backend_pid()`).ReadAll()
	if err != nil {
		return false, err
	}
	return string(results[0].Rows[0][0]) == fmt.Sprint(c.PgConn().PID()), nil
}

// explain adds what to do to Postgres's commonest complaints.
func explain(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		if hint, ok := hints[e.Code]; ok {
			return fmt.Errorf("%w: %s", err, hint)
		}
		return err
	}
	refused := (*pgconn.ConnectError)(nil)
	if !errors.As(err, &refused) {
		return err
	}
	err = oneLineError{err}
	switch {
	case errors.As(err, new(x509.HostnameError)):
		return fmt.Errorf("%w: name the server as its certificate does, or give sslmode=verify-ca, which does not look at the name", err)
	case errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.CertificateInvalidError)):
		return fmt.Errorf("%w: the server's certificate is not trusted: give sslrootcert=FILE with the certificate of who signed it", err)
	case refused.Config.TLSConfig != nil && !errors.As(err, new(net.Error)) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the server has no TLS for us: set ssl=on there, or give sslmode=disable where nobody else can listen", err)
	}
	return fmt.Errorf("%w: is the server running there, and may this machine reach it?", err)
}

// oneLineError is an error that has a line for each address, each with and without TLS, on one line and each
// reason once.
type oneLineError struct{ error }

// Error implements error.
func (e oneLineError) Error() string {
	first, rest, _ := strings.Cut(e.error.Error(), "\n")
	var reasons []string
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(reasons, line) {
			reasons = append(reasons, line)
		}
	}
	return strings.TrimSpace(first + " " + strings.Join(reasons, "; "))
}

// Unwrap is for package errors.
func (e oneLineError) Unwrap() error { return e.error }

// hints say what to do about an SQLSTATE.
var hints = map[string]string{
	"28P01": "the password is wrong or missing: give it in the address, in PGPASSWORD or in a password file",
	"28000": "the server does not let this role in: check the role's name, the server's pg_hba.conf, and whether it wants TLS (sslmode=require) or a certificate",
	"3D000": "create the database first, or name another one",
	"3F000": "the schema is missing: make it with lastcall serve --migrate (in Go, Config.Migrate)",
	"42P01": "the tables are missing: make them with lastcall serve --migrate (in Go, Config.Migrate)",
	"42501": "this role lacks a right: let it own the schema, or grant it usage on the schema and select, insert, update and delete on its tables; --migrate needs create on the database",
	"25006": readOnly,
	"53300": "the server has no connection left: raise max_connections, or lower pool_max_conns in the address",
	"57014": "the statement was cancelled: a statement_timeout of the role or the database may be too short",
	"57P01": "the server is being shut down; it is tried again",
	"57P03": "the server is starting or stopping; it is tried again",
}

const readOnly = "this server takes no writes: name the primary, or several hosts and target_session_attrs=read-write"
