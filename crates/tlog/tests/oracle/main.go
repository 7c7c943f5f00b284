// Command oracle verifies a log that the Rust crate wrote, with Go's golang.org/x/mod/sumdb packages. Its argument is
// a folder with key, secret, witness, checkpoint, checkpoint-log-only, proofs (JSON lines) and tile/…. It prints the
// number of verified proofs.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proof struct {
	Old, Size int64
	Index     int64
	OldRoot   tlog.Hash
	Leaf      tlog.Hash
	Root      tlog.Hash
	Hashes    []tlog.Hash
}

func check(err error, what ...any) {
	if err != nil {
		log.Fatal(append(what, ": ", err)...)
	}
}

type tiles struct{ folder string }

func (t tiles) Height() int                       { return 8 }
func (t tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (t tiles) ReadTiles(list []tlog.Tile) (all [][]byte, err error) {
	for _, tile := range list {
		// Go names tiles tile/<height>/<level>/<N>, C2SP tile/<level>/<N>.
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func main() {
	folder := os.Args[1]
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(folder, name))
		check(err)
		return data
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read("key"))))
	check(err, "key")
	signed, err := note.Open(read("checkpoint"), note.VerifierList(verifier))
	check(err, "note")
	lines := strings.Split(signed.Text, "\n")
	var size int64
	_, err = fmt.Sscanf(lines[1], "%d", &size)
	check(err, "size")
	root, err := tlog.ParseHash(lines[2])
	check(err, "root")

	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles{folder})
	count := 0
	input := bufio.NewScanner(strings.NewReader(string(read("proofs"))))
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		var p proof
		check(json.Unmarshal(input.Bytes(), &p), "proof")
		if p.Old > 0 {
			check(tlog.CheckTree(p.Hashes, p.Size, p.Root, p.Old, p.OldRoot), "consistency ", p.Old, " ", p.Size)
		} else {
			check(tlog.CheckRecord(p.Hashes, p.Size, p.Root, p.Index, p.Leaf), "inclusion ", p.Index, " ", p.Size)
		}
		if p.Size == size && p.Old == 0 {
			own, err := tlog.ProveRecord(p.Size, p.Index, reader)
			check(err, "proof from tiles")
			if fmt.Sprint(own) != fmt.Sprint(tlog.RecordProof(p.Hashes)) {
				log.Fatal("another proof from tiles: ", p.Index)
			}
		}
		count++
	}

	// The other direction: a note that Go signs.
	signer, err := note.NewSigner(strings.TrimSpace(string(read("secret"))))
	check(err, "secret")
	again, err := note.Sign(&note.Note{Text: signed.Text}, signer)
	check(err, "sign")
	if string(again) != string(read("checkpoint-log-only")) {
		log.Fatal("Go signs another note")
	}
	fmt.Println(count)
}
