//go:build !linux

package sqlitestore

// watchNeighbours does nothing: what other processes do is found by polling.
func (s *Store) watchNeighbours() {}

func (d *lockDir) ring() {}
