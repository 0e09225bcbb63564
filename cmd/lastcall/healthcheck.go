package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newHealthcheck() *cobra.Command {
	var (
		server string
		live   bool
		wait   time.Duration
	)
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a server whether it is ready, for a platform's exec probe",
		Long: `Ask a server whether it is ready, for the exec probe of a container whose ports cannot be reached
from outside.

A server is not ready before it is set up, from last call on, and while its store does not answer.
With --live the command asks only whether the server answers at all, which is the right question for
a liveness probe. No token is needed. The address can be that of --listen or of --probe-listen.

Exit codes: 0 it is ready; 1 it is not, or does not answer, and the command prints the reason; 2 the
command line was not understood.`,
		Example: `  lastcall healthcheck
  lastcall healthcheck --live --server http://127.0.0.1:8322`,
		Args: args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			server = cmp.Or(server, os.Getenv(serverEnv), "http://"+defaultListen)
			path := "/readyz"
			if live {
				path = "/healthz"
			}
			said, err := probe(cmd.Context(), server, path, wait)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&server, "server", "", "address of the server (default $"+serverEnv+", or http://"+defaultListen+")")
	f.BoolVar(&live, "live", false, "ask only whether it answers at all")
	f.Var(newDuration(&wait, 3*time.Second, time.Millisecond, time.Hour), "timeout", "how long the answer may take")
	return cmd
}

// probe asks a server and returns the body of its answer. The error says that the answer was not
// 200, or that there was none.
func probe(ctx context.Context, server, path string, wait time.Duration) (said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(server, "/")+path, nil)
	if err != nil || req.URL.Host == "" || req.URL.User != nil {
		return "", errors.New("the server's address is not understood: write it as http://127.0.0.1:8321") // it may hold a secret
	}
	// No proxy: the server is a neighbour.
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if broken := (*url.Error)(nil); errors.As(err, &broken) {
		if broken.Timeout() {
			return "", fmt.Errorf("%s does not answer within %v", server, wait)
		}
		return "", fmt.Errorf("%s does not answer: %w: is \"lastcall serve\" running there? (--server chooses another address)", server, broken.Err)
	} else if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return "", fmt.Errorf("%s: the answer cannot be read: %w", server, err)
	}
	said = plain(strings.TrimSpace(string(b)))
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s%s answers %d: %s", server, path, resp.StatusCode, said)
	}
	return said, nil
}
