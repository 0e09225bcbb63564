package freeport_test

import (
	"net"
	"sync"
	"testing"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

func TestNew_NobodyGetsAPortTwice(t *testing.T) {
	const tests, each = 8, 250
	var mu sync.Mutex
	seen := make(map[string]int)
	var all sync.WaitGroup
	for range tests {
		all.Go(func() {
			for range each {
				port := freeport.New(t)
				mu.Lock()
				seen[port]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(seen) != tests*each {
		t.Errorf("%d ports were given %d times", len(seen), tests*each)
	}
}

func TestNew_AProgramCanListenThere(t *testing.T) {
	address := freeport.Address(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Addr().String() != address {
		t.Errorf("%s, want %s", l.Addr(), address)
	}
}

func TestNew_AfterTheTestThePortIsGivenAgain(t *testing.T) {
	var address string
	t.Run("has it", func(t *testing.T) { address = freeport.Address(t) })
	free, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
}
