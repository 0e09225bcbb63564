//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// restart stops the server, and starts it again at the end.
func (c *Cluster) restart(sig syscall.Signal) (ending, error) {
	s := c.server()
	if err := stop(s, sig); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) { return "", c.start(ctx, s) }, nil
}

// start starts a server. It returns when the server accepts connections, including those through
// the run's pooler, which notices that with a delay.
func (c *Cluster) start(ctx context.Context, s *pgtest.Server) error {
	if err := s.Start(); err != nil || c.pooled == "" {
		return err
	}
	return answers(ctx, c.pooled)
}

// crashUnsynced makes the server commit without flushing its log until it crashes.
func (c *Cluster) crashUnsynced(ctx context.Context) (ending, error) {
	if err := c.set(ctx, map[string]string{"synchronous_commit": "off", "bgwriter_lru_maxpages": "0", "autovacuum": "off"}); err != nil {
		return nil, err
	}
	restore := map[string]string{"synchronous_commit": "", "bgwriter_lru_maxpages": "", "autovacuum": ""}
	err := c.do(ctx, `checkpoint`)
	var writer int64
	if err == nil {
		writer, err = c.number(ctx, `select pid from pg_stat_activity where backend_type = 'walwriter'`)
	}
	if err == nil {
		err = syscall.Kill(int(writer), syscall.SIGSTOP)
	}
	if err != nil {
		return nil, errors.Join(err, c.set(ctx, restore))
	}
	return func(ctx context.Context) (string, error) {
		s := c.server()
		lost, err := c.number(ctx, `select (pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn())::bigint`)
		if err = errors.Join(err, crash(s, int(writer))); err != nil {
			return "", err
		}
		if err := c.start(ctx, s); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d bytes of the log were not written", lost), c.set(ctx, restore)
	}, nil
}

// crash kills the log writer, which is stopped, and then the server, so that nothing more is
// written.
func crash(s *pgtest.Server, writer int) error {
	if err := syscall.Kill(writer, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return stop(s, syscall.SIGQUIT)
}
