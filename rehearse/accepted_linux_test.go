package rehearse

import (
	"net"
	"testing"
	"time"
)

func TestAccepted_IsWhatAServerHasReadAndNotWhatWaitsForIt(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::]:0"} {
		t.Run(address, func(t *testing.T) { acceptedAt(t, address) })
	}
}

func acceptedAt(t *testing.T, address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp4", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET")); err != nil {
		t.Fatal(err)
	}
	if accepted(conn) {
		t.Error("a connection that waits to be accepted is taken for one in flight")
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if accepted(conn) {
		t.Error("a request that nobody has read is taken for one in flight")
	}
	if _, err := server.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); !accepted(conn); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 5*time.Second {
			t.Fatal("a request that was read is not in flight")
		}
	}
}
