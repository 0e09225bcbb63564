package rehearse

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
)

// The kernel's table has the connections that are open or were closed too.
func TestListening_FindsEachListenerAmongConnections(t *testing.T) {
	listen := func(network, address string) netip.AddrPort {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.Addr().(*net.TCPAddr).AddrPort().Port())
	}
	opened := []netip.AddrPort{listen("tcp4", "127.0.0.1:0")}
	for i := range 50 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", opened[0].String())
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			c.Close()
		} else {
			t.Cleanup(func() { c.Close() })
		}
	}
	opened = append(opened, listen("tcp4", "0.0.0.0:0"), listen("tcp", ":0"))
	found := listening([]int{os.Getpid()})
	for _, one := range opened {
		if !slices.Contains(found, one) {
			t.Errorf("%v is not among %v", one, found)
		}
	}
}
