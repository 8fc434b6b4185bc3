// Which calibration a model is run with: the file that is named, or the one that was recorded with this version.
import { Errno, KernelError } from '../../base/errno.ts'
import { type Calibration, readCalibration } from './calibration.ts'
import { RECORDED } from './recorded.ts'

/** @throws KernelError where the file is not there, or is no calibration */
export async function openCalibration(path: string | undefined): Promise<Calibration> {
  if (path === undefined) return RECORDED
  const calibration = await readCalibration(path)
  if (calibration !== undefined) return calibration
  throw new KernelError(Errno.ENOENT, `there is no calibration ${path}: make one by "damselfly calibrate"`, 'calibrate')
}
