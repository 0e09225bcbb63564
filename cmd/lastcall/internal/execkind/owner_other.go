//go:build !linux

package execkind

import "github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"

// giveTo does nothing: there are no other users for programs here.
func (s *scratch) giveTo(*confine.User) error { return nil }
