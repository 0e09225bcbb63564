// Package freeport gives tests ports of the loopback interface for the programs that they start.
package freeport

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// The ports are below those that Linux gives to connections (from 32768): otherwise a connection of
// anybody could have the port when the program wants it.
const first, ports = 10_000, 20_000

// New returns a TCP port of 127.0.0.1 on which nobody listens. Until the test has ended New gives
// it to nobody else, in any process of this machine: the UDP port of the same number is taken
// meanwhile.
func New(t testing.TB) string {
	t.Helper()
	var err error
	for range ports {
		port := strconv.Itoa(first + rand.IntN(ports))
		address := net.JoinHostPort("127.0.0.1", port)
		var taken net.PacketConn
		if taken, err = new(net.ListenConfig).ListenPacket(t.Context(), "udp", address); err != nil {
			continue
		}
		if err = listen(t, address); err != nil {
			_ = taken.Close() // another one is tried
			continue
		}
		t.Cleanup(func() { _ = taken.Close() }) // nothing was sent
		return port
	}
	t.Fatalf("none of %d ports is free: %v", ports, err)
	return ""
}

// Address returns New with the IP address before it.
func Address(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", New(t))
}

// listen returns an error if somebody listens there.
func listen(t testing.TB, address string) error {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
