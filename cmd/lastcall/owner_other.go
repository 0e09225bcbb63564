//go:build !unix

package main

import "io/fs"

// ownersOnly: nothing is known of owners here.
const ownersOnly = false

func mine(fs.FileInfo) bool { return true }

func trusted(fs.FileInfo) bool { return true }
