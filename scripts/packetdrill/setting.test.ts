import assert from 'node:assert/strict'
import { test } from 'node:test'
import { applyCommand, applyOption, defaultSettings } from './setting.ts'

const commanded = (text: string) => {
  const settings = defaultSettings()
  applyCommand(settings, text, 3)
  return settings
}
const optioned = (name: string, value = '') => {
  const settings = defaultSettings()
  applyOption(settings, { name, value, line: 3 })
  return settings
}
const skips = (text: string, message: RegExp) =>
  assert.throws(() => commanded(text), { name: 'Unsupported', line: 3, message })

test('the defaults are those of packetdrill', () => {
  const { toleranceUs, tolerancePercent, mtu, bindPort, connectPort, remoteAddress } = defaultSettings()
  assert.deepEqual([toleranceUs, tolerancePercent, mtu, bindPort, connectPort], [4000, 12.5, 1500, 8080, 8080])
  assert.equal(remoteAddress, '192.0.2.1')
})

test('sysctls that the stack has a setting for set it, under both of their names, several at once', () => {
  assert.equal(commanded('sysctl -q net.ipv4.tcp_ecn=1').ecn, true)
  assert.equal(
    commanded('../common/set_sysctls.py /proc/sys/net/ipv4/tcp_congestion_control=reno').congestionControl,
    'newreno',
  )
  const { sendBytes, receiveBytes } = commanded(
    'sysctl net.ipv4.tcp_wmem="4096 10000 20000" \\\n net.ipv4.tcp_rmem="1 5000 9000"',
  )
  assert.deepEqual([sendBytes, receiveBytes], [10_000, 5000])
})

test('what a Linux host has to be told, and the stack is like anyway, changes nothing', () => {
  const text =
    '../../common/defaults.sh\nip tcp_metrics flush all > /dev/null 2>&1 ; sysctl -q net.ipv4.tcp_sack=1\n/tmp/sysctl_restore_1.sh'
  assert.deepEqual(commanded(text), defaultSettings())
})

test('every other command, and every other value, skips the script', () => {
  skips('rm -rf /', /the command is not supported: rm -rf \//)
  skips('sysctl -q net.ipv4.tcp_ecn=1; reboot', /the command is not supported: reboot/)
  skips('sysctl -q net.ipv4.tcp_sack=0', /the sysctl net.ipv4.tcp_sack is not supported with 0/)
  skips('sysctl -q net.ipv4.tcp_fastopen=1', /the sysctl net.ipv4.tcp_fastopen is not supported/)
  skips('sysctl -q net.ipv4.toString=1', /the sysctl net.ipv4.toString is not supported/)
  skips('sysctl -a', /the command is not supported: sysctl -a/)
})

test('options set addresses, ports, tolerances and the like', () => {
  assert.equal(optioned('mtu', '1000').mtu, 1000)
  assert.equal(optioned('local_ip', '10.1.2.3').localAddress, '10.1.2.3')
  assert.equal(optioned('remote_ip', '198.51.100.1/24').remoteAddress, '198.51.100.1')
  assert.equal(optioned('netmask_ip', '255.255.255.0').prefixLength, 24)
  assert.equal(optioned('tolerance_usecs', '10000').toleranceUs, 10_000)
  assert.equal(optioned('tcp_ts_tick_usecs', '1000').timestampTickUs, 1000)
  assert.equal(optioned('strict_segments').strictSegments, true)
  assert.equal(optioned('ip_version', 'ipv4').mtu, 1500)
})

test('options that cannot be had skip the script', () => {
  const refused = (name: string, value: string, message: RegExp) =>
    assert.throws(() => optioned(name, value), { name: 'Unsupported', message })
  refused('ip_version', 'ipv6', /only ipv4 is supported/)
  refused('local_ip', 'fd00::1', /only IPv4 addresses are supported/)
  refused('mtu', '10', /a number from 576 to 65535 is supported/)
  refused('wire_client', '', /--wire_client is not supported/)
})
