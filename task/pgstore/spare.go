package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// spare is a connection for beats, which is open only while the session's connection is down.
type spare struct {
	dial func(context.Context) (*pgx.Conn, error)
	turn chan struct{} // a lock with room for one: the caller that has filled it owns conn
	conn *pgx.Conn
}

// exec runs fn on the connection, one caller at a time.
func (s *spare) exec(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	if s.conn == nil || s.conn.IsClosed() {
		var err error
		if s.conn, err = s.dial(ctx); err != nil {
			s.conn = nil
			return err
		}
	}
	err := fn(ctx, s.conn)
	if isUnusableSession(err) {
		err = errors.Join(err, s.end())
	}
	return err
}

// close closes the connection, unless a caller that found the session down is using it.
func (s *spare) close() {
	select {
	case s.turn <- struct{}{}:
	default:
		return
	}
	defer func() { <-s.turn }()
	_ = s.end() // no call was in progress
}

// end closes the connection. The caller holds turn.
func (s *spare) end() error {
	if s.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.conn.Close(ctx)
	s.conn = nil
	return err
}
