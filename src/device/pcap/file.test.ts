import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { KernelError } from '../../base/errno.ts'
import { captureFile, openCapture } from './file.ts'
import { LinkType } from './format.ts'

const options = { linkType: LinkType.RAW, snapLength: 1500 }
const packet = Uint8Array.of(0x45, 0, 0, 4)

function inFolder(use: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'capture-'))
  try {
    use(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function refused(code: string, sentence: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert(error instanceof KernelError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, sentence)
    return true
  }
}

test('the extension of a capture file says its format, and it is read again', () => {
  inFolder((folder) => {
    for (const format of ['pcap', 'pcapng'] as const) {
      const path = join(folder, `a.${format}`)
      writeFileSync(path, 'what was there before')
      const file = captureFile(path, options)
      for (let i = 0; i < 3; i++) file.record(packet, 0, 4, 4, i)
      file.close()
      file.close()
      const capture = openCapture(path)
      assert.equal(capture.format, format)
      assert.deepEqual(capture.linkTypes, [LinkType.RAW])
      assert.deepEqual(
        [...capture.packets()].map(({ timeUs }) => timeUs),
        [0, 1, 2],
      )
      assert.deepEqual([...capture.packets()][0]?.data, packet)
    }
  })
})

test('what is flushed is in the file, although it is still open', () => {
  inFolder((folder) => {
    const path = join(folder, 'a.pcap')
    const file = captureFile(path, options)
    assert.equal(readFileSync(path).length, 0)
    file.record(packet, 0, 4, 4, 0)
    file.flush()
    assert.equal(readFileSync(path).length, 24 + 20)
    file.close()
  })
})

test('another extension is EINVAL, and the sentence names those that are known', () => {
  for (const path of ['a.cap', 'pcap', 'a.pcap.gz', '']) {
    assert.throws(() => captureFile(path, options), refused('EINVAL', /\*\.pcapng or \*\.pcap/))
  }
})

test('bad options leave a file that was there as it is', () => {
  inFolder((folder) => {
    const path = join(folder, 'a.pcap')
    writeFileSync(path, 'precious')
    assert.throws(() => captureFile(path, { ...options, snapLength: 0 }), refused('EINVAL', /snap length/))
    assert.equal(readFileSync(path, 'utf8'), 'precious')
  })
})

test('a path that cannot be opened is an errno and a sentence with the path', () => {
  inFolder((folder) => {
    const absent = join(folder, 'no', 'a.pcap')
    assert.throws(() => captureFile(absent, options), refused('ENOENT', /a\.pcap cannot be opened: there is no such/))
    assert.throws(() => openCapture(absent), refused('ENOENT', /a\.pcap cannot be read: there is no such/))
    mkdirSync(join(folder, 'b.pcap'))
    assert.throws(() => captureFile(join(folder, 'b.pcap'), options), refused('EINVAL', /it is a folder/))
    assert.throws(() => openCapture(join(folder, 'b.pcap')), refused('EINVAL', /it is a folder/))
    writeFileSync(join(folder, 'c'), '')
    assert.throws(() => captureFile(join(folder, 'c', 'a.pcap'), options), refused('ENOENT', /not a folder/))
  })
})

test('a file that is no capture is named in the error', () => {
  inFolder((folder) => {
    const path = join(folder, 'a.pcap')
    writeFileSync(path, 'no capture')
    assert.throws(() => openCapture(path), refused('EINVAL', /a\.pcap: expected the magic number/))
  })
})

test('a full device is ENOSPC, each time until the file is closed', { skip: !existsSync('/dev/full') }, () => {
  inFolder((folder) => {
    const path = join(folder, 'a.pcapng')
    symlinkSync('/dev/full', path)
    const file = captureFile(path, options)
    file.record(packet, 0, 4, 4, 0)
    assert.throws(() => file.flush(), refused('ENOSPC', /no space is left/))
    file.record(packet, 0, 4, 4, 0)
    assert.throws(() => file.flush(), refused('ENOSPC', /no space is left/))
    file.record(packet, 0, 4, 4, 0)
    assert.throws(() => file.close(), refused('ENOSPC', /no space is left/))
    file.close()
  })
})
