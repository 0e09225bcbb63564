package pgstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task/storekit"
)

// SQLSTATEs that decide how a call goes on.
const (
	codeReadOnly         = "25006" // the server is a standby, or the session takes no writes
	codeNotSupported     = "0A000"
	codeSerialization    = "40001"
	codeDeadlock         = "40P01"
	codeDiskFull         = "53100"
	codeLockNotAvailable = "55P03" // a wait took longer than lock_timeout
)

// errReadOnly means that a server answers, but takes no writes.
var errReadOnly = errors.New(readOnly)

const readOnly = "this server takes no writes: name the primary, or several hosts, of which the one that takes writes is chosen"

// explain adds advice to the most common errors of PostgreSQL.
func explain(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		if e.Code == codeDiskFull {
			return storekit.Full(fmt.Errorf("%w: make room on the server's disk; what was accepted is safe", err))
		}
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
	case errors.Is(err, errReadOnly):
		return err
	case errors.As(err, new(x509.HostnameError)):
		return fmt.Errorf("%w: name the server as its certificate does, or give sslmode=verify-ca, which does not check the name", err)
	case errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.CertificateInvalidError)):
		return fmt.Errorf("%w: the server's certificate is not trusted: give sslrootcert=FILE with the certificate of its issuer", err)
	case refused.Config.TLSConfig != nil && !errors.As(err, new(net.Error)) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the server has no TLS for us: set ssl=on there, or give sslmode=disable where nobody else can listen", err)
	}
	return fmt.Errorf("%w: is the server running there, and may this machine reach it?", err)
}

// oneLineError shows on one line, and each reason once, an error that has a line for each address,
// with and without TLS.
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

// Unwrap serves package errors.
func (e oneLineError) Unwrap() error { return e.error }

// hints are the advice for each SQLSTATE.
var hints = map[string]string{
	"28P01":      "the password is wrong or missing: give it in the address, in PGPASSWORD or in a password file",
	"28000":      "the server does not let this role in: check the role's name, the server's pg_hba.conf, and whether it wants TLS (sslmode=require) or a certificate",
	"3D000":      "create the database first, or name another one",
	"3F000":      "the schema is missing: make it with lastcall serve --migrate (in Go, Config.Migrate)",
	"42P01":      "the tables are missing: make them with lastcall serve --migrate (in Go, Config.Migrate)",
	"42501":      "this role lacks a right: let it own the schema, or grant it usage on the schema, select, insert, update and delete on its tables and execute on its functions; --migrate needs create on the database",
	codeReadOnly: readOnly,
	"53300":      "the server has no connection left: raise max_connections, or lower pool_max_conns in the address",
	"57014":      "the statement was cancelled: it took too long, or somebody ended it",
	"57P01":      "the server is being shut down; it is tried again",
	"57P03":      "the server is starting or stopping; it is tried again",
}

// isUndone reports whether a transaction has certainly done nothing and may succeed next time: it
// met a deadlock or a serialization failure, its session was unusable, or nothing was sent.
func isUndone(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code == codeDeadlock || e.Code == codeSerialization || isUnusableSession(err)
	}
	return pgconn.SafeToRetry(err)
}

// isTransient reports whether an error says nothing about the statement: the transaction is undone,
// or the connection ended before the answer came. In the latter case it is not known whether the
// statement was carried out.
func isTransient(err error) bool {
	var e *pgconn.PgError
	switch {
	case err == nil || isUndone(err):
		return err != nil
	case errors.As(err, new(*pgconn.ConnectError)):
		return false // no server can be reached now: to wait is up to the caller
	case errors.As(err, &e):
		return strings.HasPrefix(e.Code, "57P") || strings.HasPrefix(e.Code, "08")
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err):
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(net.Error))
}

// isAway reports whether an error of Open may disappear by itself: no server answers, or the server
// is starting or stopping, or has no connection left. A server that refuses for another reason will
// do so again.
func isAway(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return strings.HasPrefix(e.Code, "57P") || e.Code == "53300"
	}
	return errors.As(err, new(net.Error)) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// isUnusableSession reports whether a session answers but is unusable: its server has become a
// standby, or its prepared statements are for tables that have changed since. All sessions that
// were opened before it may be unusable too.
func isUnusableSession(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, new(*pgconn.ConnectError)) {
		return false // there is no session
	}
	if errors.Is(err, errReadOnly) {
		return true
	}
	// The message is translated; the name of the function in the server is not.
	return errors.As(err, &e) && (e.Code == codeReadOnly || e.Code == codeNotSupported && e.Routine == "RevalidateCachedQuery")
}

// isRowError reports whether an error was caused by one of the rows to be written, or by another
// transaction that has locked it, and not by the server's state. The other rows of a batch can then
// be written without that row.
func isRowError(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	if e.Code == codeLockNotAvailable {
		return true
	}
	switch e.Code[:2] {
	case "21", "22", "23", "54": // cardinality, data, integrity, program limit
		return true
	}
	return false
}

// isMadeByAnother reports whether a migration has failed because another one was creating the same
// schema or table.
func isMadeByAnother(err error) bool {
	var e *pgconn.PgError
	// A row of a catalogue, a schema, a table.
	return errors.As(err, &e) && slices.Contains([]string{"23505", "42P06", "42P07"}, e.Code)
}

// isLockTimeout reports whether a statement has waited for another transaction's lock longer than
// it may.
func isLockTimeout(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == codeLockNotAvailable
}

// isDeadlock reports whether the server has rolled back a transaction that was part of a deadlock.
func isDeadlock(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == codeDeadlock
}
