package pgstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestTLS_EachModeOfTLSWorksOrSaysWhatToDo(t *testing.T) {
	server := pgtest.New(t, "fsync=off")
	exec(t, server.DSN("postgres"), `create role crypt login superuser password 'secret'`)
	server.Admit(t, "host all crypt 127.0.0.0/8 scram-sha-256")
	port := server.Listen(t, nil, nil)
	certificate, key := selfSigned(t)
	other, _ := selfSigned(t)
	right, wrong, noPEM := pemFile(t, certificate), pemFile(t, other), pemFile(t, []byte("none"))
	at := func(host string, options ...string) string {
		return "postgres://crypt:secret@" + host + ":" + port + "/postgres?" + strings.Join(options, "&")
	}

	t.Run("of a server that has none", func(t *testing.T) {
		refused(t, "server has no TLS for us", at("127.0.0.1", "sslmode=require"))
		refused(t, "server has no TLS for us", at("127.0.0.1", "sslmode=verify-full", "sslrootcert="+right))
		accepted(t, false, at("127.0.0.1", "sslmode=prefer"))
		accepted(t, false, at("127.0.0.1", "sslmode=disable"))
	})
	server.Listen(t, certificate, key)
	t.Run("of a server that has it", func(t *testing.T) {
		accepted(t, false, at("127.0.0.1", "sslmode=disable"))
		accepted(t, true, at("127.0.0.1"))
		accepted(t, true, at("127.0.0.1", "sslmode=require"))
		accepted(t, true, at("127.0.0.2", "sslmode=verify-ca", "sslrootcert="+right))
		accepted(t, true, at("127.0.0.1", "sslmode=verify-full", "sslrootcert="+right))
	})
	t.Run("with a certificate that is not the one", func(t *testing.T) {
		refused(t, "not trusted: give sslrootcert", at("127.0.0.1", "sslmode=verify-ca", "sslrootcert="+wrong))
		refused(t, "not trusted: give sslrootcert", at("127.0.0.1", "sslmode=verify-full", "sslrootcert="+wrong))
		refused(t, "not trusted: give sslrootcert", at("127.0.0.1", "sslmode=verify-full"))
		refused(t, "name the server as its certificate does", at("127.0.0.2", "sslmode=verify-full", "sslrootcert="+right))
	})
	t.Run("with what is none", func(t *testing.T) {
		refused(t, "names a file that cannot be read: open "+right+".none", at("127.0.0.1", "sslmode=verify-full", "sslrootcert="+right+".none"))
		refused(t, "sslkey are PEM", at("127.0.0.1", "sslmode=verify-full", "sslrootcert="+noPEM))
		refused(t, "sslmode is one of", at("127.0.0.1", "sslmode=verify"))
	})
	server.Admit(t, "hostnossl all crypt 127.0.0.0/8 reject")
	t.Run("where pg_hba.conf wants it", func(t *testing.T) {
		refused(t, "wants TLS (sslmode=require)", at("127.0.0.1", "sslmode=disable"))
		accepted(t, true, at("127.0.0.1", "sslmode=prefer"))
	})
}

// accepted checks that a store works at an address, and that each of its sessions is encrypted, or
// none is.
func accepted(t *testing.T, encrypted bool, dsn string) {
	t.Helper()
	s, err := Open(t.Context(), Config{DSN: dsn, Migrate: true})
	if err != nil {
		t.Errorf("%s: %v", mode(dsn), err)
		return
	}
	defer closed(t, s)
	awaitUp(t, s)
	var pooled, locks bool
	const question = `select (select ssl from pg_stat_ssl where pid = pg_backend_pid()),
		(select ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'crypt' and application_name like 'lastcall session %' order by backend_start desc limit 1)`
	if err := s.pool.QueryRow(t.Context(), question).Scan(&pooled, &locks); err != nil {
		t.Fatal(err)
	}
	if pooled != encrypted || locks != encrypted {
		t.Errorf("%s: encrypted is %v for the pool and %v for the connection of the locks, want %v", mode(dsn), pooled, locks, encrypted)
	}
}

// refused checks that a store cannot be opened, and that the error says what to do and shows
// neither address nor password.
func refused(t *testing.T, want, dsn string) {
	t.Helper()
	s, err := Open(t.Context(), Config{DSN: dsn})
	if err == nil {
		closed(t, s)
		t.Errorf("%s was accepted", mode(dsn))
		return
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", mode(dsn), err, want)
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "crypt:") {
		t.Errorf("%s: the error shows the address: %v", mode(dsn), err)
	}
}

func mode(dsn string) string {
	_, options, _ := strings.Cut(dsn, "?")
	return options
}

// selfSigned creates a certificate for a server at 127.0.0.1, which is its own root.
func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lastcall test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

func pemFile(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.crt")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
