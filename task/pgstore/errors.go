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

// SQLSTATEs that decide what happens next.
const (
	codeReadOnly         = "25006" // the server is a standby, or the session takes no writes
	codeNotSupported     = "0A000"
	codeSerialization    = "40001"
	codeDeadlock         = "40P01"
	codeDiskFull         = "53100"
	codeLockNotAvailable = "55P03" // a wait took longer than lock_timeout
)

// errReadOnly means that a server answers, and takes no writes.
var errReadOnly = errors.New(readOnly)

const readOnly = "this server takes no writes: name the primary, or several hosts, of which the one that takes writes is chosen"

// explain adds what to do to the commonest complaints of PostgreSQL.
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

// oneLineError is an error that has a line for each address, each with and without TLS, on one line
// and each reason once.
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

// isUndone reports whether a transaction has certainly done nothing and may do better next time: it
// met a deadlock or a serialization failure, the session was of no use, or nothing was sent.
func isUndone(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code == codeDeadlock || e.Code == codeSerialization || isUnusableSession(err)
	}
	return pgconn.SafeToRetry(err)
}

// isTransient reports whether an error says nothing about the statement: it is undone, or the
// connection ended before the answer came. Whether it was carried out is not known then.
func isTransient(err error) bool {
	var e *pgconn.PgError
	switch {
	case err == nil || isUndone(err):
		return err != nil
	case errors.As(err, new(*pgconn.ConnectError)):
		return false // there is no server now: waiting is for the caller
	case errors.As(err, &e):
		return strings.HasPrefix(e.Code, "57P") || strings.HasPrefix(e.Code, "08")
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err):
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(net.Error))
}

// isAway reports whether an error of Open may go away by itself: nobody answers, or a server that
// starts, stops, or has no connection left. A server that refuses us for another reason will do so
// again.
func isAway(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return strings.HasPrefix(e.Code, "57P") || e.Code == "53300"
	}
	return errors.As(err, new(net.Error)) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// isUnusableSession reports whether a session answers and is of no use: its server has become a
// standby, or its prepared statements are of tables that have changed since. All sessions that were
// made before are suspected of the same.
func isUnusableSession(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, new(*pgconn.ConnectError)) {
		return false // no session was made
	}
	if errors.Is(err, errReadOnly) {
		return true
	}
	// The message is translated; the name of the function in the server is not.
	return errors.As(err, &e) && (e.Code == codeReadOnly || e.Code == codeNotSupported && e.Routine == "RevalidateCachedQuery")
}

// isRowError reports whether an error was caused by one of the rows that were to be written, or by
// another transaction that has it, and not by the server's state: the other rows of a batch may be
// written without that one.
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

// isMadeByAnother reports whether a migration has failed since another one was making the same.
func isMadeByAnother(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && slices.Contains([]string{"23505", "42P06", "42P07"}, e.Code) // a row of a catalogue, a schema, a table
}

// isLockTimeout reports whether a wait for somebody's lock took longer than it may.
func isLockTimeout(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == codeLockNotAvailable
}

// isDeadlock reports whether the server has undone a transaction that waited for one that waited
// for it.
func isDeadlock(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == codeDeadlock
}
