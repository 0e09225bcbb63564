package pgtest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// Password makes the server require a password of a role. It trusts all other roles.
func (s *Server) Password(t testing.TB, role string) {
	t.Helper()
	s.Admit(t, "local all "+role+" scram-sha-256")
}

// Admit puts lines at the beginning of pg_hba.conf, before those that trust all, and restarts the
// server.
func (s *Server) Admit(t testing.TB, lines ...string) {
	t.Helper()
	hba := filepath.Join(s.Data(), "pg_hba.conf")
	old, err := os.ReadFile(hba)
	if err == nil {
		err = os.WriteFile(hba, append([]byte(strings.Join(lines, "\n")+"\n"), old...), 0o600)
	}
	if err == nil {
		err = s.restart()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Listen makes the server also listen on 127.0.0.1 and 127.0.0.2, with TLS if a certificate is
// given. It restarts the server and returns the port. DSN still returns the address of the socket.
func (s *Server) Listen(t testing.TB, certificate, key []byte) (port string) {
	t.Helper()
	var err error
	if s.port == "" {
		s.port = freeport.New(t)
		s.settings = append(s.settings, "port="+s.port, "listen_addresses=127.0.0.1,127.0.0.2")
	}
	if certificate != nil {
		s.settings = append(s.settings, "ssl=on")
		for name, content := range map[string][]byte{"server.crt": certificate, "server.key": key} {
			path := filepath.Join(s.Data(), name)
			err = errors.Join(err, os.WriteFile(path, content, 0o600))
			if s.identity != nil {
				err = errors.Join(err, os.Chown(path, int(s.identity.Uid), int(s.identity.Gid)))
			}
		}
	}
	if err = errors.Join(err, s.restart()); err != nil {
		t.Fatal(err)
	}
	return s.port
}

func (s *Server) restart() error {
	if err := s.Stop(syscall.SIGINT); err != nil {
		return err
	}
	return s.Start()
}
