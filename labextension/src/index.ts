import { doctorPlugin } from './doctor/plugin';
import { launcherPlugin } from './launcher';
import { statusPlugin } from './status';

export default [statusPlugin, doctorPlugin, launcherPlugin];
