// Verifies a mirror of a trail with the transparency-log packages of Go's module system (sumdb/note, sumdb/tlog), which share nothing
// with ours: the checkpoint's signature, the inclusion of every entry, and the consistency of every 37th older tree.
//
//	mkdir /tmp/tlog && cp xtask/peers/tlog.go /tmp/tlog/main.go && cd /tmp/tlog
//	cp -rL "$(go env GOROOT)/src/cmd/vendor/golang.org/x/mod/sumdb" . && rm sumdb/*.go
//	sed -i s,golang.org/x/crypto/ed25519,crypto/ed25519, sumdb/note/note.go
//	sed -i s,golang.org/x/mod/sumdb,check/sumdb, sumdb/*/*.go && go mod init check
//	go run . MIRROR VERIFIER-KEY
//
// `ringfence trail verify --mirror MIRROR --root lab.root --format json` prints the verifier key among the facts. It ends with 5 where
// anything does not hold.
package main

import (
	"check/sumdb/note"
	"check/sumdb/tlog"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

type files struct{ dir string }

func (f files) Height() int                     { return 8 }
func (f files) SaveTiles([]tlog.Tile, [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		p := strings.Replace(t.Path(), "tile/8/", "tile/", 1)
		b, err := os.ReadFile(filepath.Join(f.dir, p))
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func must(err error) {
	if err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(5)
	}
}

func main() {
	dir, vkey := os.Args[1], os.Args[2]
	raw, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	must(err)
	v, err := note.NewVerifier(vkey)
	must(err)
	n, err := note.Open(raw, note.VerifierList(v))
	must(err)
	lines := strings.Split(n.Text, "\n")
	var size int64
	fmt.Sscan(lines[1], &size)
	h, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	var root tlog.Hash
	copy(root[:], h)
	r := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, files{dir})
	var i int64
	for i < size {
		t := tlog.Tile{H: 8, L: -1, N: i / 256, W: 256}
		if size-i < 256 {
			t.W = int(size - i)
		}
		p := strings.Replace(t.Path(), "tile/8/data", "tile/entries", 1)
		b, err := os.ReadFile(filepath.Join(dir, p))
		must(err)
		for k := 0; k < t.W; k++ {
			l := int(b[0])<<8 | int(b[1])
			leaf := tlog.RecordHash(b[2 : 2+l])
			b = b[2+l:]
			proof, err := tlog.ProveRecord(size, i, r)
			must(err)
			must(tlog.CheckRecord(proof, size, root, i, leaf))
			i++
		}
	}
	var trees int
	for old := int64(1); old < size; old += 37 {
		oh, err := tlog.TreeHash(old, r)
		must(err)
		proof, err := tlog.ProveTree(size, old, r)
		must(err)
		must(tlog.CheckTree(proof, size, root, old, oh))
		trees++
	}
	fmt.Printf("verified: note of %s, %d entries by inclusion, %d older trees by consistency\n", v.Name(), size, trees)
}
